"""Data as programs of analysis have it, of the kind that the argument says: prints what it knows of
it, by type, and keeps it. 3.8 and later; what comes from others' packages needs those.
"""

import gc
import json
import os
import sys


def tables():
    """Bytes of arrays, as numpy and pandas tell them, and of texts."""
    import numpy
    import pandas

    rows, numbers = 100_000, numpy.random.default_rng(1)
    sales = pandas.DataFrame(
        {
            "day": pandas.date_range("2020-01-01", periods=rows, freq="min"),
            "amount": numbers.normal(size=rows),
            "shop": numbers.integers(0, 50, rows),
            "customer": ["customer %d" % number for number in range(rows)],
        }
    )
    matrix = numbers.normal(size=(1000, 3000))
    arrays = int(sales.memory_usage(index=False).sum())
    texts = int(sales.memory_usage(index=False, deep=True).sum()) - arrays
    totals = sales.groupby("shop")["amount"].sum()
    return (sales, totals, matrix), {"numpy.ndarray": matrix.nbytes + arrays, "str": texts}


def documents():
    """How many objects are in a large JSON."""
    text = json.dumps(
        [
            {"id": number, "tags": ["a", "b %d" % number], "size": {"width": number * 0.5, "height": None}}
            for number in range(60_000)
        ]
    )
    loaded = json.loads(text)
    return loaded, {"dict": 2 * len(loaded), "list": len(loaded) + 1, "float": len(loaded)}


def session():
    """How many instances an SQLAlchemy session has, as the collector tells it."""
    from sqlalchemy import Column, ForeignKey, Integer, String, create_engine
    from sqlalchemy.orm import Session, declarative_base, relationship

    Base = declarative_base()

    class Author(Base):
        __tablename__ = "authors"
        id = Column(Integer, primary_key=True)
        name = Column(String)
        books = relationship("Book", back_populates="author")

    class Book(Base):
        __tablename__ = "books"
        id = Column(Integer, primary_key=True)
        title = Column(String)
        author_id = Column(ForeignKey("authors.id"))
        author = relationship("Author", back_populates="books")

    engine = create_engine("sqlite://")
    Base.metadata.create_all(engine)
    with Session(engine) as filler:
        for number in range(500):
            books = [Book(title="book %d of %d" % (book, number)) for book in range(10)]
            filler.add(Author(name="author %d" % number, books=books))
        filler.commit()
    opened = Session(engine)
    authors = opened.query(Author).all()
    books = [book for author in authors for book in author.books]
    gc.collect()
    kinds = [type(each) for each in gc.get_objects()]
    return (opened, authors, books), {
        "%s.%s" % (kind.__module__, kind.__qualname__): kinds.count(kind)
        for kind in (Author, Book, type(books[0]._sa_instance_state))
    }


kept, told = {"tables": tables, "documents": documents, "session": session}[sys.argv[1]]()
print(json.dumps(told), flush=True)
os.read(0, 1)

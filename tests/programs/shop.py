"""A shop on Django, served by waitress: prints the port. Its products are in SQLite and, by name, in
PRODUCTS; its pages are made of templates; its sessions are in Django's cache. 3.8 and later.
"""

import os
import sys

import django
from django.conf import settings
from waitress import create_server

settings.configure(
    ALLOWED_HOSTS=["*"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": sys.argv[1]}},
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    INSTALLED_APPS=["django.contrib.admin", "django.contrib.auth", "django.contrib.contenttypes", "django.contrib.messages", "django.contrib.sessions"],
    MIDDLEWARE=[
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
    ],
    ROOT_URLCONF=__name__,
    SECRET_KEY="for the tests",
    SESSION_ENGINE="django.contrib.sessions.backends.cache",
    TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates"}],
)
django.setup()

from django.core.wsgi import get_wsgi_application
from django.db import connection, models
from django.http import HttpResponse, JsonResponse
from django.template import engines
from django.urls import path

STOCK = 30_000


class Product(models.Model):
    name = models.CharField(max_length=80)
    price = models.IntegerField()

    class Meta:
        app_label = "shop"


PAGE = engines["django"].from_string(
    "<ul>{% for each in products %}<li>{{ each.name|upper }}: {{ each.price|default:0 }}</li>{% endfor %}</ul>"
)


def catalogue(request):
    first = request.session.get("first", 0)
    request.session["first"] = first + 1
    products = Product.objects.filter(id__gt=first).order_by("id")[:50]
    return HttpResponse(PAGE.render({"products": products}, request))


def report(request):
    totals = {}
    for product in Product.objects.all()[:500]:
        totals[product.price % 10] = totals.get(product.price % 10, 0) + product.price
    return JsonResponse(totals)


urlpatterns = [path("catalogue", catalogue), path("report", report)]



def fill():
    with connection.schema_editor() as editor:
        editor.create_model(Product)
    Product.objects.bulk_create(
        Product(name="product %d" % number, price=number * 7 % 100) for number in range(STOCK)
    )


# By another process, as usual: what it takes is not the shop's.
filler = os.fork()
if not filler:
    fill()
    os._exit(0)
assert os.waitpid(filler, 0)[1] == 0
PRODUCTS = {product.name: product for product in Product.objects.iterator()}
connection.close()  # and the pages that it keeps; the server's threads have their own
server = create_server(get_wsgi_application(), listen="127.0.0.1:0", threads=4)
print(server.effective_port, flush=True)
server.run()

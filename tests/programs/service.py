"""A service on aiohttp: prints its port. Whoever visits it is remembered in VISITS. 3.8 and later."""

import asyncio

from aiohttp import web

VISITS = {}


def remember(path):
    number = len(VISITS)
    VISITS[number] = {"path": path, "pages": ["page %d of %d" % (page, number) for page in range(10)]}
    return number


async def visit(request):
    number = remember(request.path)
    await asyncio.sleep(0.001)
    return web.json_response(VISITS[number // 2])


async def main():
    for _ in range(30_000):  # of the days before
        remember("/visit")
    application = web.Application()
    application.router.add_get("/visit", visit)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


asyncio.run(main())

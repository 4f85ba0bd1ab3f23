from fastapi import FastAPI
from fastapi_chain import install

from . import api


def create_app() -> FastAPI:
    app = FastAPI()
    runtime = install(app)
    app.include_router(api.router)
    app.include_router(runtime.router(), prefix="/chains")
    return app


app = create_app()

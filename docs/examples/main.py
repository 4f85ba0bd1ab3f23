from fastapi_chain import install
from first_chain import app

runtime = install(app)  # runs outlive their requests, and are kept
app.include_router(runtime.router(), prefix="/chains")
app.include_router(runtime.dashboard(), prefix="/chains/ui")  # only in development without `dependencies=[...]`

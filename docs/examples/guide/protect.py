import secrets
from typing import Annotated

from fastapi import Depends, FastAPI, Header, HTTPException, Request
from fastapi.security import HTTPBasic, HTTPBasicCredentials
from fastapi_chain import Run, chain, install, task

app = FastAPI()
runtime = install(app)


# --8<-- [start:users]
TOKENS = {"Bearer ann": "ann", "Bearer bob": "bob"}


def current_user(request: Request, authorization: Annotated[str | None, Header()] = None) -> str:
    user = TOKENS.get(authorization or "")
    if user is None:
        raise HTTPException(401)
    request.state.user = user
    return user


# --8<-- [end:users]


# --8<-- [start:router]
def mine(request: Request, run: Run) -> bool:
    """Whether a request may see a run: it is called after the dependencies, for each run, and may be `async`."""
    user: str = request.state.user
    return run.tags.get("user") == user


app.include_router(runtime.router(visible=mine), prefix="/chains", dependencies=[Depends(current_user)])
# --8<-- [end:router]


# --8<-- [start:dashboard]
basic = HTTPBasic(realm="chains")


def require_admin(credentials: Annotated[HTTPBasicCredentials, Depends(basic)]) -> None:
    right = secrets.compare_digest(credentials.password, "correct horse")  # from your settings
    if credentials.username != "admin" or not right:
        raise HTTPException(401, headers={"WWW-Authenticate": 'Basic realm="chains"'})


app.include_router(runtime.dashboard(), prefix="/admin/chains", dependencies=[Depends(require_admin)])
# --8<-- [end:dashboard]


# --8<-- [start:chain]
@task
async def count(text: str) -> int:
    return len(text.split())


@app.post("/texts", status_code=202)
@chain(count, tags={"user": "{user}"}, expose_result=True)
async def upload(text: str, user: Annotated[str, Depends(current_user)]) -> dict[str, str]:
    return {"status": "accepted"}


# --8<-- [end:chain]

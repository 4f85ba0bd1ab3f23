"""`python -m fastapi_chain`: the same as `fastapi-chain`."""

from .cli import main

if __name__ == "__main__":
    main()

"""`python -m vectorflow.cli` is `vectorflow`; this is how processes of ours start others."""

from vectorflow.cli.main import main

if __name__ == "__main__":
    main()

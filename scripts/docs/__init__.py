"""The generated parts and figures of README.md and docs, one module a topic; scripts/make_docs.py writes them."""

"""The review page: a person accepts, edits or rejects what the critic let through, or did not.

`store` holds the run, `app` serves it, `static/` is the page. It runs on this machine only.
"""

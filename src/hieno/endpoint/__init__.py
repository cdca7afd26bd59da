"""A local endpoint: one address, two keys, and blue/green deployments behind a gateway.

The command line writes what should be (`state`), a detached process per endpoint makes it so
(`gateway`), and `control` holds what the commands call.
"""

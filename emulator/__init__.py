"""A stand-in for Azure on this machine. docs/emulator.md says what it cannot prove.

    with running(folder) as cloud:            # everything is up, on loopback
        environment = cloud.environment()     # what points the real SDKs at it

Nothing in `hieno` knows that it exists: the SDKs call Azure's own names over TLS, and a proxy
brings those names here.
"""

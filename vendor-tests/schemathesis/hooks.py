"""What schemathesis does not know of itself: a body by the line goes as it is."""
import schemathesis


@schemathesis.serializer("application/x-ndjson")
def lines(_context, value):
    return value if isinstance(value, bytes) else str(value).encode()

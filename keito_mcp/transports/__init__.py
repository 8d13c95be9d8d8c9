"""How a host reaches the server: stdio, or Streamable HTTP and SSE in one ASGI app; and who may connect."""

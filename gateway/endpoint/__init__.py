"""One MCP server over all servers and agents of the plan."""

"""An MCP server by the Python SDK, for tests/e2e/mcp.rs: a port and a bearer token, both as arguments."""

import sys

from mcp.server.auth.provider import AccessToken
from mcp.server.auth.settings import AuthSettings
from mcp.server.mcpserver import MCPServer
from mcp.types import ToolAnnotations

port, expected = int(sys.argv[1]), sys.argv[2]
here = f"http://127.0.0.1:{port}"
seen = []


class Verifier:
    async def verify_token(self, token: str) -> AccessToken | None:
        seen.append(token)
        return AccessToken(token=token, client_id="powerhouse", scopes=[]) if token == expected else None


server = MCPServer(
    "crm",
    token_verifier=Verifier(),
    auth=AuthSettings(issuer_url=here, resource_server_url=f"{here}/mcp"),
)


@server.tool(annotations=ToolAnnotations(read_only_hint=True))
def find_person(name: str) -> str:
    """Finds a person by their name."""
    return f"{name} is person 47 of the CRM"


@server.tool()
def note(person: int, text: str) -> str:
    """Writes a note about a person."""
    return f"noted about {person}: {text}"


@server.tool()
def fail() -> str:
    """Fails."""
    raise ValueError("the CRM is closed on Sundays")


@server.tool()
def whoami() -> str:
    """Says what it was sent, as no server should."""
    return f"you sent {seen[-1]}"


@server.tool()
def secret_admin() -> str:
    """Not for agents."""
    return "done"


server.run("streamable-http", host="127.0.0.1", port=port)

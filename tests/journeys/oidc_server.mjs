// A real authorization server for the journeys: it gives its clients access tokens as JWTs (RFC 9068, RFC 8707).
import { Provider } from "oidc-provider";

const { HOST, PORT, ISSUER, JWKS, CLIENTS } = process.env;

const provider = new Provider(ISSUER, {
  jwks: JSON.parse(JWKS),
  clients: JSON.parse(CLIENTS).map((client_id) => ({
    client_id,
    client_secret: `${client_id}-secret`,
    grant_types: ["client_credentials"],
    redirect_uris: [],
    response_types: [],
    token_endpoint_auth_method: "client_secret_post",
    id_token_signed_response_alg: "ES256",
  })),
  scopes: ["mcp", "read"],
  ttl: { ClientCredentials: 600 },
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => undefined,
      getResourceServerInfo: (context, resource) => ({
        scope: "mcp read",
        audience: resource,
        accessTokenFormat: "jwt",
        jwt: { sign: { alg: "ES256" } },
      }),
    },
  },
});

provider.listen(Number(PORT), HOST);

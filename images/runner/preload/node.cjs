// Loaded before a server's own program: its arguments and variables come from its secret file, so that neither the
// command line nor the environment that the kernel shows of a process holds them.
const path = process.env.PROMPTCRAFT_SERVER_FILE;
if (path) {
  delete process.env.PROMPTCRAFT_SERVER_FILE;
  const server = JSON.parse(require("node:fs").readFileSync(path, "utf8"));
  Object.assign(process.env, server.environment);
  process.argv.push(...server.arguments);
}

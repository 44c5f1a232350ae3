/**
 * The proxy auto-configuration file: a browser that uses it sends `.gyre` through this node and everything else where it always went. Host
 * names under `.gyre` go to the proxy however they are spelled, for what the proxy refuses at least asked no DNS server.
 */
import { formatHostPort, type HostPort } from '../../src/config/index.ts'

/** Media type of the file. */
export const PAC_TYPE = 'application/x-ns-proxy-autoconfig'

/** The text of the file for a proxy at `at`. A proxy on all interfaces is named by loopback: the file is for this machine. */
export function proxyPac(at: HostPort): string {
  const host = at.host === '0.0.0.0' || at.host === '::' || at.host === 'localhost' ? '127.0.0.1' : at.host
  return `// Gyre: what is under .gyre goes through this node, everything else as before.
function FindProxyForURL(url, host) {
  return /(^|\\.)gyre\\.?$/i.test(host) ? 'PROXY ${formatHostPort({ host, port: at.port })}' : 'DIRECT'
}
`
}

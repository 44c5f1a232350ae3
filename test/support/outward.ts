/**
 * Sees everything that a Node process looks up or dials: DNS in all its forms, TCP and TLS (each of which passes `Socket.prototype.connect`),
 * Unix sockets, datagrams. Installed before anything else is imported, it is what shows that a proxy leaks nothing. Nothing is stopped.
 */
import dgram from 'node:dgram'
import dns from 'node:dns'
import { syncBuiltinESMExports } from 'node:module'
import net from 'node:net'

/** One look-up or connection: `dns example.org`, `tcp 127.0.0.1:80`, `unix /path`, `udp …`. */
export type Outward = (call: string) => void

type Callable = (this: unknown, ...args: unknown[]) => unknown

/** Calls `seen` for each from now on; the returned function undoes it. */
export function watchOutward(seen: Outward): () => void {
  const undo: (() => void)[] = []
  const wrap = (on: object, name: string, tell: (...args: unknown[]) => string | null) => {
    const original: unknown = Reflect.get(on, name)
    if (typeof original !== 'function') return
    const wrapped: Callable = function (...args) {
      const call = tell(...args)
      if (call !== null) seen(call)
      return Reflect.apply(original, this, args)
    }
    Reflect.set(on, name, wrapped)
    undo.push(() => Reflect.set(on, name, original))
  }
  const lookUps = Object.keys(dns).filter((name) => /^(?:lookup|lookupService|resolve\w*|reverse)$/.test(name))
  for (const name of lookUps) {
    // To look up an address is to be given it back; Node does so whenever it listens or connects.
    const tell = (host: unknown) => (name === 'lookup' && net.isIP(String(host)) !== 0 ? null : `dns ${String(host)}`)
    for (const on of [dns, dns.promises, dns.Resolver.prototype, dns.promises.Resolver.prototype]) wrap(on, name, tell)
  }
  wrap(net.Socket.prototype, 'connect', (...args) => connectCall(args))
  for (const name of ['send', 'connect'])
    wrap(dgram.Socket.prototype, name, (...args) => `udp ${args.filter((arg) => typeof arg !== 'object').join(' ')}`)
  syncBuiltinESMExports()
  return () => {
    for (const one of undo) one()
    syncBuiltinESMExports()
  }
}

/** What the arguments of `connect` mean: Node passes a list in a list, options, or a port and a host. */
function connectCall(args: readonly unknown[]): string {
  const [first, second] = Array.isArray(args[0]) ? (args[0] as readonly unknown[]) : args
  if (typeof first === 'string' && !/^\d+$/.test(first)) return `unix ${first}`
  if (typeof first !== 'object' || first === null)
    return `tcp ${typeof second === 'string' ? second : 'localhost'}:${String(first)}`
  const { host, port, path } = first as { host?: string; port?: number; path?: string }
  return port === undefined && path !== undefined ? `unix ${path}` : `tcp ${host ?? 'localhost'}:${port}`
}

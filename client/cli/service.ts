/** `gyre service`: live services of a node: what listens on this machine, under a key's address. */
import type { ServiceCarriage, ServiceStatus } from '../library.ts'
import { findNode, getJson, type NodeChoice, sendJson } from './api-client.ts'
import { countOf, formatBytes, print, table, UsageError } from './output.ts'

export interface ServiceFlags extends NodeChoice {
  readonly json?: boolean | undefined
}

export interface ServiceAddFlags extends ServiceFlags {
  readonly name: string
  /** `HOST:PORT`. */
  readonly target: string
  readonly port?: string | undefined
  readonly loops?: string | undefined
  readonly rate?: string | undefined
}

/** Offers `target` and prints the address. Errors: `CONFIG_BAD`, `KEY_BAD`, `SERVICE_LIMIT`. */
export async function addService(flags: ServiceAddFlags, signal: AbortSignal): Promise<void> {
  const { name, target } = flags
  const body = {
    name,
    target,
    ...(flags.port === undefined ? {} : { port: portOf(flags.port) }),
    ...(flags.loops === undefined ? {} : { loops: numberOf('--loops', flags.loops) }),
    ...(flags.rate === undefined ? {} : { rate: numberOf('--rate', flags.rate) }),
  }
  const node = findNode(flags, process.env)
  const answer = await sendJson<{ address: string }>(node, { method: 'POST', path: '/v1/services', body, signal })
  await print(flags.json === true ? `${JSON.stringify(answer)}\n` : `${answer.address}\n`)
  const { carried } = await getJson<ServiceStatus>(node, `/v1/services/${encodeURIComponent(name)}`, signal)
  if (carried !== undefined) process.stderr.write(`${costOf(carried)}\n`)
}

/** What a service costs under a paced clock, in plain words. */
function costOf({ loops, rate, sessionsMax, bytesPerHour }: ServiceCarriage): string {
  const each = `${countOf(loops, 'loop')} of ${rate} cells a second`
  return `${each}, used or not: ${formatBytes(bytesPerHour)} an hour each way, up to ${countOf(sessionsMax, 'session')} at once.`
}

function numberOf(flag: string, text: string): number {
  if (/^\d{1,5}$/.test(text)) return Number(text)
  throw new UsageError(`${flag} takes a number.`)
}

function portOf(text: string): number {
  const port = /^\d{1,5}$/.test(text) ? Number(text) : 0
  if (port >= 1 && port <= 65535) return port
  throw new UsageError('--port takes a port from 1 to 65535.')
}

export async function listServices(flags: ServiceFlags, signal: AbortSignal): Promise<void> {
  const found = await getJson<{ services: readonly ServiceStatus[] }>(findNode(flags, process.env), '/v1/services', signal)
  if (flags.json === true) return print(`${JSON.stringify(found)}\n`)
  if (found.services.length === 0) return print('no services yet\n')
  const rows = found.services.map(({ name, address, ports, state, sessions, carried }) => [
    ...[
      name,
      address,
      ports.map(({ port, target }) => `${port} → ${target}`).join(', '),
      state,
      carried === undefined ? String(sessions) : `${sessions} of ${carried.sessionsMax}`,
    ],
  ])
  await print(table([['name', 'address', 'ports', 'state', 'sessions'], ...rows]))
}

export async function removeService(name: string, flags: ServiceFlags, signal: AbortSignal): Promise<void> {
  await sendJson(findNode(flags, process.env), { method: 'DELETE', path: `/v1/services/${encodeURIComponent(name)}`, signal })
  if (flags.json === true) await print(`${JSON.stringify({ removed: name })}\n`)
}

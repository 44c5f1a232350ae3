/**
 * What a service is, as its key's `service` part keeps it: where its ports lead, the secret by which its loops choose their links, and its
 * introduction points. Written whole after each change, so that a node that was killed stands again at the same introduction points under
 * the same names, and clients with a record from before find it. Codec only. A service that was removed keeps its secret: its loops would
 * otherwise leave over other links when it comes back (preference.ts).
 */
import { isIP } from 'node:net'
import { fromHex, type NodeId, parseNodeId, toHex, utf8 } from '../../src/bytes/index.ts'
import { CELL_BYTES } from '../../src/cell/index.ts'
import { RATE_LADDER } from '../../src/circuit/setup/index.ts'
import { OverlayError } from '../../src/errors/index.ts'
import { INTRODUCTION_TOKEN_BYTES, RECORD_PORTS_MAX } from '../../src/wire/index.ts'
import type { ServiceWish } from '../library.ts'
import { PREFERENCE_SECRET_BYTES } from './preference.ts'

export interface PortTarget {
  /** Virtual port under the address. */
  readonly port: number
  /** An IP address: nothing here is ever looked up. */
  readonly host: string
  readonly targetPort: number
}

/** An introduction point that the service has chosen. */
export interface ChosenPoint {
  readonly node: NodeId
  /** 32 bytes, secret: shows to the node that it is this service that waits there. */
  readonly token: Uint8Array
  /** Unix milliseconds until which it is kept. */
  readonly untilMs: number
}

/** The loops that carry a service under a paced clock. */
export interface Carriage {
  /** How many, 1 to `LOOPS_MAX`. */
  readonly loops: number
  /** Cells a second of each: one of `RATE_LADDER`. */
  readonly rate: number
}

export interface ServiceState {
  /** In order of their virtual ports; none: removed. At most 16. */
  readonly ports: readonly PortTarget[]
  /** 32 bytes. */
  readonly secret: Uint8Array
  readonly points: readonly ChosenPoint[]
  readonly carriage: Carriage
}

/** What a service has if nothing is said. */
export const CARRIAGE_USUAL: Carriage = Object.freeze({ loops: 2, rate: 128 })
/** Loops of one service. */
export const LOOPS_MAX = 8
/** Cells a second of all services of a node: half of what a link takes at most (SPEC §4.5), and a node has several links. */
export const CARRIED_CELLS_MAX = 16_384
/** Bytes of a cell on the wire behind TLS. */
const WIRE_CELL_BYTES = CELL_BYTES + 22

/** What the loops put on this node's links in an hour, each way. */
export function bytesPerHourOf({ loops, rate }: Carriage): number {
  return loops * rate * 3600 * WIRE_CELL_BYTES
}

const VERSION = 1
const POINTS_MAX = 8

export function encodeServiceState({ ports, secret, points, carriage }: ServiceState): Uint8Array {
  const kept = points.map(({ node, token, untilMs }) => ({ node, token: toHex(token), untilMs }))
  return utf8(`${JSON.stringify({ version: VERSION, ports, secret: toHex(secret), points: kept, ...carriage })}\n`)
}

/** `null` for anything that is not exactly a state. Never throws. */
export function parseServiceState(bytes: Uint8Array): ServiceState | null {
  let raw: unknown
  try {
    raw = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  } catch {
    return null
  }
  if (!isRecord(raw) || raw.version !== VERSION || !Array.isArray(raw.ports) || !Array.isArray(raw.points)) return null
  const secret = hexOf(raw.secret, PREFERENCE_SECRET_BYTES)
  const ports = raw.ports.map(portOf)
  const points = raw.points.map(pointOf)
  if (secret === null || ports.length > RECORD_PORTS_MAX || points.length > POINTS_MAX) return null
  if (ports.some((port) => port === null) || points.some((point) => point === null)) return null
  const sound = ports as PortTarget[]
  if (new Set(sound.map(({ port }) => port)).size !== sound.length) return null
  const carriage = carriageOf(raw.loops ?? CARRIAGE_USUAL.loops, raw.rate ?? CARRIAGE_USUAL.rate)
  return carriage && { ports: sound, secret, points: points as ChosenPoint[], carriage }
}

function carriageOf(loops: unknown, rate: unknown): Carriage | null {
  const known = (RATE_LADDER as readonly unknown[]).includes(rate)
  if (typeof loops !== 'number' || !Number.isInteger(loops) || loops < 1 || loops > LOOPS_MAX || !known) return null
  return { loops, rate: rate as number }
}

/** `before` with what the wish says of its loops. Errors: `CONFIG_BAD`. */
export function carriageWished({ loops, rate }: ServiceWish, before: Carriage): Carriage {
  const carriage = carriageOf(loops ?? before.loops, rate ?? before.rate)
  if (carriage === null) {
    throw bad(
      `A service has 1 to ${LOOPS_MAX} loops of ${RATE_LADDER.slice(0, -1).join(', ')} or ${RATE_LADDER.at(-1)} cells a second.`,
    )
  }
  return carriage
}

function portOf(raw: unknown): PortTarget | null {
  if (!isRecord(raw)) return null
  const { port, host, targetPort } = raw
  return isPort(port) && typeof host === 'string' && isIP(host) !== 0 && isPort(targetPort) ? { port, host, targetPort } : null
}

function pointOf(raw: unknown): ChosenPoint | null {
  if (!isRecord(raw)) return null
  const node = typeof raw.node === 'string' ? parseNodeId(raw.node) : null
  const token = hexOf(raw.token, INTRODUCTION_TOKEN_BYTES)
  const { untilMs } = raw
  if (node === null || token === null || typeof untilMs !== 'number' || !Number.isSafeInteger(untilMs)) return null
  return { node, token, untilMs }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null
}

function hexOf(value: unknown, bytes: number): Uint8Array | null {
  const read = typeof value === 'string' ? fromHex(value) : null
  return read?.length === bytes ? read : null
}

function isPort(value: unknown): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value >= 1 && value <= 65_535
}

/**
 * The port that a wish asks for. `localhost` is this machine's own loopback, without asking anybody. Errors: `CONFIG_BAD`.
 */
export function targetOf({ target, port = 80 }: ServiceWish): PortTarget {
  const host = target.host.toLowerCase() === 'localhost' ? '127.0.0.1' : target.host.replace(/^\[(.*)\]$/, '$1')
  if (isIP(host) === 0)
    throw bad(`The target's host must be an IP address or localhost: names would be looked up outside of this network.`)
  if (!isPort(target.port)) throw bad(`The target's port must be an integer from 1 to 65535.`)
  if (!isPort(port)) throw bad('The virtual port must be an integer from 1 to 65535.')
  return { port, host, targetPort: target.port }
}

/** `state` with `wanted` in place of what its port led to. Errors: `SERVICE_LIMIT`. */
export function withPort(state: ServiceState, wanted: PortTarget): ServiceState {
  const others = state.ports.filter(({ port }) => port !== wanted.port)
  if (others.length >= RECORD_PORTS_MAX)
    throw new OverlayError('overload', 'SERVICE_LIMIT', `A service has at most ${RECORD_PORTS_MAX} ports.`)
  return { ...state, ports: [...others, wanted].sort((a, b) => a.port - b.port) }
}

function bad(message: string): OverlayError {
  return new OverlayError('config', 'CONFIG_BAD', message)
}

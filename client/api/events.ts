/**
 * `GET /v1/events`: what happens on this node, as server-sent events (WHATWG HTML §9.2), for its own user. Events are coarse: what the API
 * itself does (publications, transfers), what the node tells, and differences of status, services, sites and names, looked for once a second
 * while somebody listens. Nothing is kept for later: events carry no ids, and Last-Event-ID is not answered.
 *
 * A listener that reads too slowly is cut: what waits for it is bounded, and it can come back and ask for the lists.
 */
import type { ServerResponse } from 'node:http'
import { OverlayError } from '../../src/errors/index.ts'
import type { Clock, Timer } from '../../src/runtime/index.ts'
import { HttpFailure } from '../http/index.ts'
import type { NodeEvent, NodeFace } from '../library.ts'

// Implementation constants.
export const LISTENERS_MAX = 32
/** Bytes that wait for one listener; one event more and it is cut. */
export const WAITING_BYTES_MAX = 64 * 1024
export const HEARTBEAT_MS = 15_000
/** How often differences are looked for. */
export const LOOK_MS = 1_000

type Data = NodeEvent['data']

interface Listener {
  readonly response: ServerResponse
  readonly beat: Timer
}

/** State that is compared from one look to the next: by kind, then by name. */
type Snapshot = Readonly<Record<'status' | 'service' | 'site' | 'name', ReadonlyMap<string, Data>>>

export class Events {
  readonly #face: NodeFace
  readonly #clock: Clock
  readonly #listeners = new Set<Listener>()
  #unhear: (() => void) | null = null
  #timer: Timer | null = null
  #seen: Snapshot | null = null
  #works = 0

  constructor(face: NodeFace, clock: Clock) {
    this.#face = face
    this.#clock = clock
  }

  /** How many listen. */
  get listeners(): number {
    return this.#listeners.size
  }

  /** A number for one piece of work, so that its events belong together. */
  nextWork(): number {
    return ++this.#works
  }

  /**
   * Takes over `response` as a listener, with `headers`. The first event is the status. Errors: `API_RATE` (429) when there are `LISTENERS_MAX`.
   */
  listen(response: ServerResponse, headers: Readonly<Record<string, string>>): void {
    if (this.#listeners.size >= LISTENERS_MAX) {
      throw new HttpFailure(429, new OverlayError('overload', 'API_RATE', `${LISTENERS_MAX} programs listen already.`), {
        'Retry-After': '5',
      })
    }
    response.writeHead(200, { ...headers, 'Content-Type': 'text/event-stream; charset=utf-8' })
    const listener: Listener = { response, beat: this.#heartbeat(response) }
    this.#listeners.add(listener)
    response.once('close', () => this.#leave(listener))
    this.#begin()
    response.write(': events from now on; earlier ones are not kept\n\n')
    response.write(textOf('status', statusOf(this.#face)))
  }

  /** Tells every listener. */
  tell(type: string, data: Data): void {
    if (this.#listeners.size === 0) return
    const text = textOf(type, data)
    for (const { response } of this.#listeners) {
      if (response.writableLength + text.length > WAITING_BYTES_MAX) response.destroy()
      else response.write(text)
    }
  }

  /** Looks for differences now: after something was changed through the API. */
  look(): void {
    if (this.#seen === null) return
    const before = this.#seen
    const now = snapshotOf(this.#face)
    this.#seen = now
    for (const kind of ['status', 'service', 'site', 'name'] as const) {
      for (const [name, data] of now[kind]) if (!equal(before[kind].get(name), data)) this.tell(kind, data)
      for (const name of before[kind].keys()) if (!now[kind].has(name)) this.tell(kind, { name, state: 'removed' })
    }
  }

  /** Ends every stream. */
  close(): void {
    for (const { response } of [...this.#listeners]) response.end()
  }

  #begin(): void {
    if (this.#unhear !== null) return
    this.#seen = snapshotOf(this.#face)
    this.#unhear = this.#face.onEvent(({ type, data }) => this.tell(type, data))
    this.#schedule()
  }

  #schedule(): void {
    this.#timer = this.#clock.setTimer(LOOK_MS, () => {
      this.look()
      this.#schedule()
    })
  }

  #heartbeat(response: ServerResponse): Timer {
    let timer: Timer
    const beat = () => {
      timer = this.#clock.setTimer(HEARTBEAT_MS, () => {
        if (response.writableLength > WAITING_BYTES_MAX) response.destroy()
        else response.write(': still here\n\n')
        beat()
      })
    }
    beat()
    return { cancel: () => timer.cancel() }
  }

  #leave(listener: Listener): void {
    listener.beat.cancel()
    this.#listeners.delete(listener)
    if (this.#listeners.size > 0) return
    this.#timer?.cancel()
    this.#unhear?.()
    this.#unhear = null
    this.#seen = null
  }
}

/** One event. JSON has no line ends outside of texts, where it escapes them; a type that has some is a bug of ours, made harmless. */
function textOf(type: string, data: Data): string {
  return `event: ${type.replaceAll(/[^\w-]/g, '_')}\ndata: ${JSON.stringify(data)}\n\n`
}

/** The part of the status whose change is worth an event: not the time, and not what every share changes. */
function statusOf(face: NodeFace): Data {
  const { nodesKnown, neighbours, warnings } = face.status()
  return { ready: face.ready(), nodesKnown, neighbours, warnings: warnings.length }
}

function snapshotOf(face: NodeFace): Snapshot {
  const services = face.services
    .list()
    .map(({ name, address, state, introductionPoints }): [string, Data] => [name, { name, address, state, introductionPoints }])
  const sites = face.sites
    .list()
    .map(({ key, address, version }): [string, Data] => [key, { name: key, address, version, state: 'done' }])
  const names = face.names
    .list()
    .map(({ name, address, source }): [string, Data] => [name, { name, address, source, state: 'there' }])
  return {
    status: new Map([['', statusOf(face)]]),
    service: new Map(services),
    site: new Map(sites),
    name: new Map(names),
  }
}

function equal(one: Data | undefined, other: Data): boolean {
  return one !== undefined && Object.entries(other).every(([name, value]) => one[name] === value)
}

/**
 * What a host and a port lead to now: a file, a version of a site, or a live service with, perhaps, a snapshot in its place when nobody
 * answers. Live comes first. A service that did not answer is not waited for again at once: for a few seconds its snapshot comes directly.
 */
import { OverlayError } from '../../src/errors/index.ts'
import type { Clock } from '../../src/runtime/index.ts'
import { HttpFailure } from '../http/index.ts'
import type { Asking, LiveService, NodeFace, OpenedFile, OpenedSite } from '../library.ts'
import { type GyreHost, type HostTarget, HTTP_PORT } from './target.ts'

// Implementation constants.
/** Nothing is known about an address by then: better an answer than to go on waiting. Under a paced clock the first loops for it take up to a minute and a half. */
export const RESOLVE_TIMEOUT_MS = 240_000
/** A live service is waited for so long (it gives up itself, over swift loops after half a minute, over paced ones after four to nine minutes); when there is a snapshot to show instead, less. */
export const CONNECT_TIMEOUT_MS = 600_000
export const CONNECT_WITH_SNAPSHOT_MS = 12_000
/** How long a service that did not answer is taken for away. */
export const AWAY_MS = 10_000
/** Services remembered as away; the oldest is forgotten. */
const AWAY_MAX = 512

export type Route =
  | { readonly kind: 'file'; readonly address: string; readonly file: OpenedFile }
  | { readonly kind: 'site'; readonly address: string; readonly site: OpenedSite; readonly snapshot: boolean }
  | LiveRoute

export interface LiveRoute {
  readonly kind: 'live'
  readonly address: string
  readonly service: LiveService
  /** The site to serve when the service does not answer. */
  readonly snapshot: (() => Promise<OpenedSite>) | null
}

/** Work of one user, with its isolation named. */
export interface RouteAsking extends Asking {
  readonly isolation: string
}

export class Destinations {
  readonly #face: NodeFace
  readonly #clock: Clock
  readonly #away = new Map<string, number>()

  constructor(face: NodeFace, clock: Clock) {
    this.#face = face
    this.#clock = clock
  }

  /** The address of `host`. Throws `HttpFailure` 404 for a name that is not in the book: no name is ever asked of anybody else. */
  addressOf(host: GyreHost): string {
    const address = host.isAddress ? host.label : this.#face.names.find(host.label)
    if (address !== null) return address
    throw new HttpFailure(
      404,
      new OverlayError(
        'not-found',
        'NAME_UNKNOWN',
        'This is neither an address (56 characters) nor a name in the book of this node.',
      ),
    )
  }

  /**
   * Where a request goes. `replaceable`: it may be answered from a snapshot (GET and HEAD).
   * Errors: those of `NodeFace.resolve`; `HttpFailure` for a name that is unknown, or a port where there is nothing.
   */
  async route({ host, port }: HostTarget, asking: RouteAsking, replaceable: boolean): Promise<Route> {
    const address = this.addressOf(host)
    const deadline = this.#clock.deadline(RESOLVE_TIMEOUT_MS, asking.signal)
    try {
      const found = await this.#face.resolve(address, { ...asking, signal: deadline.signal })
      if (found.kind === 'file') {
        if (port !== HTTP_PORT) throw noSuchPort('file')
        return { kind: 'file', address, file: found.file }
      }
      const { live, site } = found
      if (live !== null) {
        const snapshot = port === HTTP_PORT ? site : null
        // A key with, say, ssh at port 22 and a site: the site is not in anybody's place then.
        const besides = snapshot !== null && !live.ports.includes(port)
        const instead = besides || (snapshot !== null && replaceable && this.isAway(address, asking.isolation))
        if (!instead) return { kind: 'live', address, service: live, snapshot }
        return { kind: 'site', address, site: await snapshot(), snapshot: !besides }
      }
      if (site === null)
        throw new OverlayError(
          'not-found',
          'CONTENT_NOT_FOUND',
          'There is neither a site nor a live service at this address now.',
        )
      if (port !== HTTP_PORT) throw noSuchPort('site')
      return { kind: 'site', address, site: await site(), snapshot: false }
    } finally {
      deadline.clear()
    }
  }

  /** Notes that the service did not answer. */
  markAway(address: string, isolation: string): void {
    const key = `${isolation}/${address}`
    this.#away.delete(key)
    this.#away.set(key, this.#clock.monotonicMs() + AWAY_MS)
    if (this.#away.size > AWAY_MAX) this.#away.delete(this.#away.keys().next().value!)
  }

  isAway(address: string, isolation: string): boolean {
    return (this.#away.get(`${isolation}/${address}`) ?? 0) > this.#clock.monotonicMs()
  }
}

function noSuchPort(kind: 'file' | 'site'): HttpFailure {
  return new HttpFailure(
    403,
    new OverlayError('protocol', 'PROXY_REFUSED', `This is the address of a ${kind}: it is at http:// and port 80 alone.`),
  )
}

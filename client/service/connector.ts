/**
 * Connections from this node to live services. Sessions are kept per service and isolation: work under different isolation names shares no
 * session, no loop and no introduction, so that neither a service nor a node on the way can tell that it has one user. Bounded; at the limit
 * the session goes that was used longest ago and carries nothing.
 */
import type { Duplex } from 'node:stream'
import { toHex } from '../../src/bytes/index.ts'
import { OverlayError } from '../../src/errors/index.ts'
import type { Asking, LiveService } from '../library.ts'
import { ClientSession } from './client-session.ts'
import { Introducer, type IntroducerDeps } from './introducer.ts'
import type { MakeSession } from './sessions.ts'

// Implementation constant.
/** Sessions with services that this node has at once. */
export const CLIENT_SESSIONS_MAX = 128

export interface ConnectorDeps extends IntroducerDeps {
  readonly makeSession: MakeSession
}

export class Connector {
  readonly #deps: ConnectorDeps
  readonly #introducer: Introducer
  /** By isolation and key; the one used longest ago is the first. */
  readonly #sessions = new Map<string, ClientSession>()
  #closed = false

  constructor(deps: ConnectorDeps) {
    this.#deps = deps
    this.#introducer = new Introducer(deps)
  }

  /** Sessions that are set up, or being set up. */
  get sessions(): number {
    return this.#sessions.size
  }

  /** The service at the address `key` (32 bytes), whose record names `ports`. */
  service(key: Uint8Array, ports: readonly number[]): LiveService {
    return {
      ports,
      connect: async (port, asking) => {
        if (!ports.includes(port))
          throw new OverlayError('unreachable', 'SERVICE_REFUSED', 'The service does not offer this port.')
        return this.connect(key, port, asking)
      },
    }
  }

  /** See `LiveService.connect`. */
  async connect(key: Uint8Array, port: number, asking: Asking): Promise<Duplex> {
    asking.signal.throwIfAborted()
    return this.#sessionOf(key, asking.isolation ?? '').connect(port, asking)
  }

  /** Ends all sessions. Idempotent. */
  close(): void {
    this.#closed = true
    for (const session of [...this.#sessions.values()]) session.close()
  }

  #sessionOf(key: Uint8Array, isolation: string): ClientSession {
    const name = `${toHex(key)} ${isolation}`
    let session = this.#sessions.get(name)
    if (session === undefined) {
      this.#makeRoom()
      const made = new ClientSession(key, isolation, {
        introducer: this.#introducer,
        makeSession: this.#deps.makeSession,
        loopMs: this.#deps.loopMs,
        onOver: () => {
          if (this.#sessions.get(name) === made) this.#sessions.delete(name)
        },
        clock: this.#deps.clock,
        rng: this.#deps.rng,
      })
      session = made
    }
    this.#sessions.delete(name)
    this.#sessions.set(name, session)
    return session
  }

  #makeRoom(): void {
    if (this.#closed) throw new OverlayError('unreachable', 'SERVICE_UNREACHABLE', 'The node is stopping.')
    if (this.#sessions.size < CLIENT_SESSIONS_MAX) return
    const idle = [...this.#sessions.values()].find((session) => !session.busy)
    if (idle === undefined)
      throw new OverlayError('overload', 'SERVICE_BUSY', 'This node has as many sessions with services as it may.')
    idle.close()
  }
}

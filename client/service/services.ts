/**
 * The live services of this node: added and removed by its user, kept with their keys, and up again after a restart at the same addresses.
 * Each has loops of its own, which leave and come home over links chosen for its key (`preference.ts`). The last word on disk is the key's
 * `service` part (`state.ts`); a service is hosted exactly when that names a port.
 */
import type { NodeId } from '../../src/bytes/index.ts'
import { blindAddress, periodAt, periodStartMs, RECORD_GRACE_MS } from '../../src/content/record.ts'
import { OverlayError } from '../../src/errors/index.ts'
import type { Logger } from '../../src/log/index.ts'
import type { Clock, Rng } from '../../src/runtime/index.ts'
import { isKeyName, type KeyBook, type KeyEntry } from '../keys/index.ts'
import type { NodeEvent, ServiceStatus, Services, ServiceWish } from '../library.ts'
import type { LoopPreference } from '../paths.ts'
import type { RecordPublisher } from '../records/index.ts'
import { Forwarder } from './forward.ts'
import { HostedService } from './host.ts'
import type { ServiceLoops, ServiceView } from './loops.ts'
import type { MeetingDeps } from './meeting.ts'
import { lastingPreference, PREFERENCE_SECRET_BYTES } from './preference.ts'
import type { BlindedKeys } from './record-keys.ts'
import { type MakeSession, SessionRoom } from './sessions.ts'
import {
  CARRIAGE_USUAL,
  CARRIED_CELLS_MAX,
  type Carriage,
  carriageWished,
  encodeServiceState,
  parseServiceState,
  type ServiceState,
  targetOf,
  withPort,
} from './state.ts'

// Implementation constant.
/** Services that a node hosts: each has up to 11 standing loops. */
export const SERVICES_MAX = 16
/** How long the loops of sessions stay for their last words, which go out within a quarter second; over paced loops within two. */
const FAREWELL_MS = 300
const FAREWELL_PACED_MS = 1_500

/** The loops of one service. */
export interface OwnLoops {
  readonly loops: ServiceLoops
  close(): void
}

export interface ServicesDeps {
  readonly book: KeyBook
  readonly records: RecordPublisher
  readonly network: Uint8Array
  readonly self: NodeId
  readonly view: ServiceView
  /** Loops for one service, standing by from now on. */
  readonly loopsFor: (preference: LoopPreference, carriage: Carriage) => OwnLoops
  readonly healthy: () => boolean
  /** Whether loops stand by configuration alone: the clock is paced. Then what they take together is bounded. */
  readonly carries?: boolean
  readonly joinLocally: MeetingDeps['joinLocally']
  readonly makeSession: MakeSession
  /** Where its streams lead. Default: to the TCP targets of the services. */
  readonly forwarder?: Pick<Forwarder, 'forward' | 'close'>
  readonly emit: (event: NodeEvent) => void
  readonly clock: Clock
  readonly rng: Rng
  readonly log: Logger
}

interface Running {
  readonly service: HostedService
  readonly own: OwnLoops
  /** What was said of it last. */
  said: string
}

export class LiveServices implements Services {
  readonly #deps: ServicesDeps
  readonly #forwarder: Pick<Forwarder, 'forward' | 'close'>
  readonly #room = new SessionRoom()
  readonly #running = new Map<string, Running>()
  readonly #stop = new AbortController()
  /** Changes are made one after the other. */
  #changing: Promise<unknown> = Promise.resolve()

  constructor(deps: ServicesDeps) {
    this.#deps = deps
    this.#forwarder = deps.forwarder ?? new Forwarder(deps.clock)
  }

  /** Hosts what was hosted when the node stopped. A state that is damaged is left alone, and said. */
  async start(): Promise<void> {
    const { book, log } = this.#deps
    for (const entry of book.list()) {
      const state = await this.#read(entry.name).catch((error: unknown) => {
        log.warn('what a service was cannot be read: it is not hosted. Check the disk, or add it anew', { error })
        return null
      })
      if (state === null || state.ports.length === 0 || this.#running.size >= SERVICES_MAX) continue
      if (this.#fits(state.carriage)) this.#host(entry, state)
      else
        log.warn(
          'a live service of this node is not offered: its loops, with those of the others, take more than a node may carry',
        )
    }
  }

  async add(wish: ServiceWish): Promise<{ readonly address: string }> {
    if (!isKeyName(wish.name)) {
      throw new OverlayError('config', 'CONFIG_BAD', 'A name is 1 to 32 of a-z, 0-9 and -, with no - at its ends.')
    }
    const port = targetOf(wish)
    return this.#change(async () => {
      const running = this.#running.get(wish.name)
      if (running === undefined && this.#running.size >= SERVICES_MAX) {
        throw new OverlayError('overload', 'SERVICE_LIMIT', `This node hosts at most ${SERVICES_MAX} services.`)
      }
      const { book, rng } = this.#deps
      const entry = await book.make(wish.name)
      const before = running?.service.state ??
        (await this.#read(wish.name)) ?? {
          ports: [],
          secret: rng.bytes(PREFERENCE_SECRET_BYTES),
          points: [],
          carriage: CARRIAGE_USUAL,
        }
      const carriage = carriageWished(wish, before.carriage)
      if (!this.#fits(carriage, wish.name))
        throw new OverlayError(
          'overload',
          'SERVICE_LIMIT',
          `The loops of all services of a node carry at most ${CARRIED_CELLS_MAX} cells a second.`,
        )
      const state = { ...withPort(before, port), carriage }
      // On disk before anybody hears the address.
      await book.writePart(wish.name, 'service', encodeServiceState(state))
      const same = carriage.loops === before.carriage.loops && carriage.rate === before.carriage.rate
      if (running !== undefined && (same || this.#deps.carries !== true)) running.service.setPorts(state.ports, carriage)
      else {
        // Other loops: it begins anew.
        this.#running.delete(wish.name)
        if (running !== undefined) await this.#end(running)
        this.#host(entry, state)
      }
      return { address: entry.address }
    })
  }

  list(): readonly ServiceStatus[] {
    return [...this.#running.values()].map(({ service }) => service.status()).sort((a, b) => (a.name < b.name ? -1 : 1))
  }

  get(name: string): ServiceStatus | null {
    return this.#running.get(name)?.service.status() ?? null
  }

  remove(name: string): Promise<boolean> {
    return this.#change(async () => {
      const { book, records, log, emit } = this.#deps
      const running = this.#running.get(name)
      // One that is not hosted because its state could not be read at the start is removed all the same.
      const entry = isKeyName(name) ? book.get(name) : null
      const state = running?.service.state ?? (entry === null ? null : await this.#read(name))
      if (entry === null || state === null || state.ports.length === 0) return false
      if (running !== undefined) {
        this.#running.delete(name)
        await this.#end(running)
      }
      try {
        await book.writePart(name, 'service', encodeServiceState({ ...state, ports: [] }))
      } catch (error) {
        // It would come back with the next start: so it stays, and can be removed when the disk lets it.
        if (running !== undefined) this.#host(entry, state)
        throw error
      }
      // The record is taken back as soon as holders can be reached; that may take longer than the user should wait.
      records.forget(name, 'service', this.#stop).catch((error: unknown) => {
        if (!this.#stop.signal.aborted) log.debug('the record of a removed service could not be taken back yet', { error })
      })
      emit({ type: 'service', data: { name, state: 'removed' } })
      return true
    })
  }

  /** Ends all; what is on disk stays. Idempotent. */
  async close(): Promise<void> {
    this.#stop.abort(new OverlayError('unreachable', 'NODE_NOT_READY', 'The node is stopping.'))
    this.#forwarder.close()
    await this.#changing.catch(() => {})
    await Promise.all([...this.#running.values()].map((running) => this.#end(running)))
    this.#running.clear()
  }

  /** Whether loops of `carriage` fit beside those of all services but `name`. */
  #fits({ loops, rate }: Carriage, name = ''): boolean {
    if (this.#deps.carries !== true) return true
    let cells = loops * rate
    for (const [other, { service }] of this.#running) {
      if (other !== name) cells += service.state.carriage.loops * service.state.carriage.rate
    }
    return cells <= CARRIED_CELLS_MAX
  }

  #host(entry: KeyEntry, state: ServiceState): void {
    const { book, clock, log, network, loopsFor, view } = this.#deps
    const { name } = entry
    const own = loopsFor(lastingPreference(state.secret, clock), state.carriage)
    const service = new HostedService(
      {
        ...this.#deps,
        view,
        loops: own.loops,
        room: this.#room,
        forwarder: this.#forwarder,
        periods: (key, unixMs) => periodsAround(key, network, unixMs),
        save: (changed) => {
          book.writePart(name, 'service', encodeServiceState(changed)).catch((error: unknown) => {
            log.warn('what a service is could not be written', { error })
          })
        },
        onChange: () => this.#say(name),
      },
      entry,
      state,
    )
    this.#running.set(name, { service, own, said: '' })
    service.start()
    this.#say(name)
  }

  /** Tells the user when a service's state has changed. */
  #say(name: string): void {
    const running = this.#running.get(name)
    if (running === undefined) return
    const { state, introductionPoints } = running.service.status()
    const said = `${state} ${introductionPoints}`
    if (said === running.said) return
    running.said = said
    this.#deps.emit({ type: 'service', data: { name, state, introductionPoints } })
  }

  async #end({ service, own }: Running): Promise<void> {
    const { sessions } = service.status()
    await service.close()
    // So that clients hear of it, and need not find out.
    if (sessions > 0)
      await this.#deps.clock.sleep(this.#deps.carries === true ? FAREWELL_PACED_MS : FAREWELL_MS, new AbortController())
    own.close()
  }

  async #read(name: string): Promise<ServiceState | null> {
    const bytes = await this.#deps.book.readPart(name, 'service')
    if (bytes === null) return null
    const state = parseServiceState(bytes)
    if (state === null) throw new OverlayError('config', 'KEY_BAD', `What the service ${name} was is damaged on disk.`)
    return state
  }

  async #change<T>(work: () => Promise<T>): Promise<T> {
    if (this.#stop.signal.aborted) throw new OverlayError('unreachable', 'NODE_NOT_READY', 'The node is stopping.')
    const done = this.#changing.catch(() => {}).then(work)
    this.#changing = done.catch(() => {})
    return done
  }
}

/** The period of `key` now, and its blinded keys in all periods whose records may be read now. */
async function periodsAround(key: Uint8Array, network: Uint8Array, unixMs: number): Promise<BlindedKeys> {
  const period = periodAt(key, unixMs)
  const besides = [
    ...(unixMs - periodStartMs(key, period) < RECORD_GRACE_MS ? [period - 1] : []),
    ...(periodStartMs(key, period + 1) - unixMs < RECORD_GRACE_MS ? [period + 1] : []),
  ]
  const blinded = await Promise.all([period, ...besides].map((each) => blindAddress(key, network, each)))
  return { period, blinded: blinded.filter((each) => each !== null) }
}

/**
 * Links whose sockets are in a thread of their own, as the node's thread has them: nothing that the node computes, and no pause of its collector,
 * holds back what a link sends by time. A `LinkHost` like any other, made of records (`kinds.ts`): it starts the thread, makes a `CellLink` over
 * each link that is there, and ends the thread when it is closed. A thread that ends by itself is a fault of this program, and ends it.
 */
import { Worker } from 'node:worker_threads'
import type { NodeId } from '../../bytes/index.ts'
import { type ErrorCode, type ErrorKind, OverlayError } from '../../errors/index.ts'
import { type Clock, clockMoment, laterTurn } from '../../runtime/index.ts'
import { CellLink, type LinkFacts } from '../cell-link.ts'
import { type CellPools, cellPools } from '../cell-pool.ts'
import { duplicateLink } from '../duel.ts'
import type { Link, LinkHost } from '../index.ts'
import type { CellWire } from '../lanes.ts'
import type { Libp2pHostOptions } from '../libp2p/index.ts'
import {
  type Answer,
  type Call,
  decodeText,
  encodeText,
  FromLinks,
  LINK_ENDS,
  OTHER_KINDS,
  type ThreadOptions,
  ToLinks,
} from './kinds.ts'
import { type OnRecord, RecordReader, RecordWriter, ringMemory } from './record-ring.ts'

// Implementation constant.
/** How long the thread may take to end by itself. */
const END_TIMEOUT_MS = 3_000

export interface ThreadHostOptions extends Omit<Libp2pHostOptions, 'clock'> {
  /** The node's id, which its key gives. */
  readonly id: NodeId
  /** The machine's own (`systemClock`). */
  readonly clock: Clock
  /** The program of the thread: it calls `serveLinks`. */
  readonly program: URL
  /**
   * While there are links, the node's thread looks at what has come so often, and is woken for nothing that goes by time: its cells are kept for much
   * longer than that anyway.
   */
  readonly pollMs: number
  /** For what runs there besides links. */
  readonly other?: unknown
}

/** A call that waits for its answer. */
interface Asked {
  resolve(answer: Answer): void
  reject(error: OverlayError): void
}

export class ThreadHost implements LinkHost {
  readonly id: NodeId
  onInbound: (link: Link) => void = (link) => link.close('local')
  /** What comes that is not of links. */
  onOther: OnRecord = () => {}
  /** Says things to the thread that are not of links. */
  readonly orders: RecordWriter
  readonly #options: ThreadHostOptions
  readonly #worker: Worker
  readonly #reader: RecordReader
  readonly #pools: CellPools = cellPools()
  readonly #links = new Map<number, CellLink>()
  readonly #numbers = new WeakMap<Link, number>()
  readonly #calls = new Map<number, Asked>()
  #callNumbers = 0
  #addresses: readonly string[] = []
  #polling = false
  #closed: Promise<void> | null = null

  constructor(options: ThreadHostOptions) {
    const { id, clock, program, signingSeed, listen, announce, limits, directRead, other } = options
    this.id = id
    this.#options = options
    const toLinks = ringMemory()
    const fromLinks = ringMemory()
    const workerData: ThreadOptions = {
      toLinks,
      fromLinks,
      signingSeed,
      listen,
      ...(announce === undefined ? {} : { announce }),
      ...(limits === undefined ? {} : { limits }),
      ...(directRead === undefined ? {} : { directRead }),
      moment: clockMoment(),
      other,
    }
    this.#reader = new RecordReader(fromLinks)
    this.#worker = new Worker(program, { workerData })
    this.orders = new RecordWriter(toLinks, clock, () => this.#worker.postMessage(null))
    this.#worker.on('message', () => this.#drain())
    this.#worker.on('error', (error) => this.#onFault(error))
    this.#worker.on('exit', () => this.#onFault(new Error('the thread of the links has ended')))
  }

  get addresses(): readonly string[] {
    return this.#addresses
  }

  /** The thread's number of a link that this host made and that is open. */
  numberOf(link: Link): number | undefined {
    return this.#numbers.get(link)
  }

  async start(): Promise<void> {
    const answer = await this.#call({ op: 'start' })
    if ('addresses' in answer) this.#addresses = answer.addresses ?? []
  }

  async dial(peer: NodeId, addresses: readonly string[], { signal }: { signal: AbortSignal }): Promise<Link> {
    signal.throwIfAborted()
    if (this.#closed !== null) throw new OverlayError('unreachable', 'LINK_UNREACHABLE', 'This node is closing.')
    const answer = await this.#call({ op: 'dial', peer, addresses }, signal)
    const link = 'link' in answer ? this.#links.get(answer.link ?? 0) : undefined
    // One that this one replaces says `onClose` in the next turn: its owner hears of that first.
    await laterTurn(this.#options.clock)
    if (link !== undefined) return link
    // Both had dialled, and the other's link has taken the place of this one on the way here.
    if ([...this.#links.values()].some((other) => other.peer === peer)) throw duplicateLink()
    throw new OverlayError('unreachable', 'LINK_UNREACHABLE', 'The link has ended already.')
  }

  close(): Promise<void> {
    this.#closed ??= this.#shut()
    return this.#closed
  }

  async #shut(): Promise<void> {
    const { clock } = this.#options
    for (const link of [...this.#links.values()]) link.close('local')
    const ended = new Promise((resolve) => this.#worker.once('exit', resolve))
    const late = clock.deadline(END_TIMEOUT_MS, new AbortController().signal)
    const timeout = new Promise((resolve) => late.signal.addEventListener('abort', resolve, { once: true }))
    void this.#call({ op: 'close' }).catch(() => {}) // a thread that cannot close is terminated
    await Promise.race([ended, timeout])
    late.clear()
    this.#worker.removeAllListeners()
    await this.#worker.terminate()
    this.orders.close()
    this.#endCalls()
    await laterTurn(clock) // links say that they are closed
  }

  #endCalls(): void {
    for (const asked of this.#calls.values())
      asked.reject(new OverlayError('unreachable', 'LINK_UNREACHABLE', 'This node is closing.'))
    this.#calls.clear()
  }

  #call(call: Call, signal?: AbortSignal): Promise<Answer> {
    const number = ++this.#callNumbers
    const { promise, resolve, reject } = Promise.withResolvers<Answer>()
    this.#calls.set(number, { resolve, reject })
    this.orders.write(ToLinks.CALL, number, { bytes: encodeText(call) })
    if (signal === undefined) return promise
    const stop = () => {
      this.#calls.delete(number)
      this.orders.write(ToLinks.ABORT, number)
      reject(signal.reason)
    }
    signal.addEventListener('abort', stop, { once: true })
    return promise.finally(() => signal.removeEventListener('abort', stop))
  }

  #onFault(error: unknown): void {
    if (this.#closed !== null) return
    this.#options.log.error({ err: error }, 'a fault in the thread of the links')
    this.#options.clock.nextTurn(() => {
      throw error
    })
  }

  // ---- What the thread says.

  readonly #onRecord: OnRecord = (kind, id, a, b, bytes) => {
    switch (kind) {
      case FromLinks.BYTES:
        return this.#links.get(id)?.onBytes(bytes)
      case FromLinks.WRITTEN:
        return this.#links.get(id)?.onWritten()
      case FromLinks.OPENED:
        return this.#open(id, decodeText<LinkFacts>(bytes))
      case FromLinks.INBOUND: {
        const link = this.#links.get(id)
        // One that this one replaces says `onClose` first.
        if (link !== undefined) this.#options.clock.nextTurn(() => this.onInbound(link))
        return
      }
      case FromLinks.ENDED:
        return this.#links.get(id)?.onEnd(LINK_ENDS[a] ?? 'error')
      case FromLinks.CLOSED:
        return this.#links.get(id)?.close(LINK_ENDS[a] ?? 'error')
      case FromLinks.ANSWER:
        return this.#onAnswer(id, decodeText<Answer>(bytes))
      case FromLinks.LOG: {
        const text = decodeText<string>(bytes)
        return a === 0 ? this.#options.log.debug({}, text) : this.#options.log.error({}, text)
      }
      default:
        if (kind >= OTHER_KINDS) this.onOther(kind, id, a, b, bytes)
    }
  }

  #drain(): void {
    this.#reader.drain(this.#onRecord)
  }

  #poll(): void {
    this.#polling = this.#links.size > 0 && this.#closed === null
    this.#reader.poll(this.#polling)
    this.#drain()
    if (this.#polling) this.#options.clock.setTimer(this.#options.pollMs, () => this.#poll())
  }

  #onAnswer(number: number, answer: Answer): void {
    const asked = this.#calls.get(number)
    this.#calls.delete(number)
    if (!('failed' in answer)) {
      if (asked !== undefined) return asked.resolve(answer)
      return this.#links.get(answer.link ?? 0)?.close('local') // nobody waits for it any more
    }
    if (asked === undefined) return
    const { kind, code, message } = answer.failed
    asked.reject(new OverlayError(kind as ErrorKind, code as ErrorCode, message))
  }

  #open(number: number, facts: LinkFacts): void {
    const link = new CellLink(facts, new ThreadWire(this.orders, number), this.#pools, this.#options.clock, {
      onEnded: () => void this.#links.delete(number),
      onFault: (error) => this.#options.log.error({ err: error }, 'a fault while handling cells; the link is closed'),
    })
    this.#links.set(number, link)
    this.#numbers.set(link, number)
    if (this.#polling) return
    this.#polling = true
    this.#options.clock.nextTurn(() => this.#poll())
  }
}

/** The wire under a link whose socket is in the other thread. */
class ThreadWire implements CellWire {
  readonly #orders: RecordWriter
  readonly #number: number
  constructor(orders: RecordWriter, number: number) {
    this.#orders = orders
    this.#number = number
  }
  write(bytes: Uint8Array): void {
    this.#orders.write(ToLinks.WRITE, this.#number, { bytes })
  }
  pause(): void {
    this.#orders.write(ToLinks.PAUSE, this.#number)
  }
  resume(): void {
    this.#orders.write(ToLinks.RESUME, this.#number)
  }
  end(): void {
    this.#orders.write(ToLinks.END, this.#number)
  }
  destroy(): void {
    this.#orders.write(ToLinks.DESTROY, this.#number)
  }
}

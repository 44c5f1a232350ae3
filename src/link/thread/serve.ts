/**
 * The thread of the links, its own side: a libp2p host whose links are carried to the node's thread and from it, record by record. It decides
 * nothing. `other` adds what is not of links: the lines that send by time (`relay/link-thread.ts`).
 */
import { parentPort, workerData } from 'node:worker_threads'
import type { MonotonicMs } from '../../bytes/index.ts'
import { isOverlayError, OverlayError } from '../../errors/index.ts'
import { type Clock, clockOf } from '../../runtime/index.ts'
import { cellPools } from '../cell-pool.ts'
import type { LaneSource, LinkHost } from '../index.ts'
import { createHostOf } from '../libp2p/index.ts'
import { CarriedLink } from './carried-link.ts'
import { type Answer, type Call, decodeText, encodeText, FromLinks, OTHER_KINDS, type ThreadOptions, ToLinks } from './kinds.ts'
import { type OnRecord, RecordReader, RecordWriter } from './record-ring.ts'

// Implementation constants.
/** Who writes cells that do not go by time is not kept waiting, for so long after each. */
const URGENT_MS = 1_000
/** This thread is back from its rest so long before the time: sockets are read then. */
const READ_MS = 1

/** What there is in the thread besides links. */
export interface OtherPart {
  readonly onRecord: OnRecord
  onLinkEnded(link: LaneSource): void
  close(): void
}

export interface ThreadParts {
  readonly clock: Clock
  readonly events: RecordWriter
  /** `ThreadOptions.other`. */
  readonly options: unknown
  link(number: number): LaneSource | undefined
  /** Handles what the node has written by now. */
  drain(): void
  /**
   * Once this turn is over, nothing is done until then, unless the node wants something: what comes meanwhile lies in the sockets and is read in one
   * turn. To be woken for each neighbour's write costs more than to read it.
   */
  rest(until: MonotonicMs): void
}

/** Runs this thread: called once, at its top. */
export function serveLinks(other: (parts: ThreadParts) => OtherPart): void {
  const port = parentPort
  if (port === null) throw new Error('not a thread of its own')
  const options = workerData as ThreadOptions
  const clock = clockOf(options.moment)
  let urgentUntil = 0
  // At the end of the turn: all sockets that are read in it wake the node once.
  const events = new RecordWriter(options.fromLinks, clock, () => clock.nextTurn(() => port.postMessage(null)))
  events.urgent = () => clock.monotonicMs() < urgentUntil
  const reader = new RecordReader(options.toLinks)
  const links = new Map<number, CarriedLink>()
  const calls = new Map<number, AbortController>()
  const pools = cellPools()
  let numbers = 0

  const log = (level: number) => (_details: object, text: string) =>
    events.write(FromLinks.LOG, 0, { a: level, bytes: encodeText(text) })
  /** Made when it is started: what is wrong with its options is the answer. */
  let host: LinkHost<CarriedLink> | null = null
  const makeHost = () =>
    createHostOf(
      { ...options, clock, log: { debug: log(0), error: log(1) } },
      (facts, wire, onEnded: (link: CarriedLink) => void) => {
        const link = new CarriedLink(++numbers, facts, wire, pools, events, {
          onEnded: (ended) => {
            links.delete(ended.number)
            part.onLinkEnded(ended)
            onEnded(ended)
          },
        })
        links.set(link.number, link)
        return link
      },
    )
  events.onRoom = () => {
    for (const link of links.values()) if (link.held) link.release()
  }

  const call = async (id: number, asked: Call): Promise<Answer> => {
    switch (asked.op) {
      case 'start':
        host ??= await makeHost()
        host.onInbound = (link) => events.write(FromLinks.INBOUND, link.number)
        await host.start()
        return { addresses: host.addresses }
      case 'dial': {
        if (host === null) throw new OverlayError('bug', 'INTERNAL', 'Dialled before the start.')
        const stop = new AbortController()
        calls.set(id, stop)
        const link = await host.dial(asked.peer, asked.addresses, { signal: stop.signal }).finally(() => calls.delete(id))
        return { link: link.number }
      }
      case 'close':
        part.close()
        await host?.close()
        return {}
    }
  }
  const answer = (id: number, given: Answer) => events.write(FromLinks.ANSWER, id, { bytes: encodeText(given) })

  /** Ends this thread, once the node is asked to read the last records. */
  const end = () => clock.nextTurn(() => clock.nextTurn(() => process.exit()))

  const onRecord: OnRecord = (kind, id, a, b, bytes) => {
    switch (kind) {
      case ToLinks.WRITE:
        urgentUntil = clock.monotonicMs() + URGENT_MS
        return links.get(id)?.write(bytes)
      case ToLinks.PAUSE:
        return links.get(id)?.pause()
      case ToLinks.RESUME:
        return links.get(id)?.resume()
      case ToLinks.END:
        return links.get(id)?.finish()
      case ToLinks.DESTROY:
        return links.get(id)?.destroy()
      case ToLinks.CALL: {
        const asked = decodeText<Call>(bytes)
        return void call(id, asked)
          .then(
            (given) => answer(id, given),
            (error: unknown) => answer(id, failed(error)),
          )
          .then(() => asked.op === 'close' && end())
      }
      case ToLinks.ABORT:
        return calls.get(id)?.abort()
      default:
        if (kind >= OTHER_KINDS) part.onRecord(kind, id, a, b, bytes)
    }
  }
  const drain = () => reader.drain(onRecord)
  const rest = (until: MonotonicMs) => {
    clock.nextTurn(() => {
      const ms = until - READ_MS - clock.monotonicMs()
      if (ms > 0 && !events.full && !events.urgent()) reader.rest(ms)
    })
  }
  const part = other({ clock, events, options: options.other, link: (number) => links.get(number), drain, rest })
  port.on('message', drain)
  drain()
}

function failed(error: unknown): Answer {
  if (isOverlayError(error)) return { failed: { kind: error.kind, code: error.code, message: error.message } }
  const message = error instanceof Error ? error.message : 'unknown'
  return { failed: { kind: 'bug', code: 'INTERNAL', message } }
}

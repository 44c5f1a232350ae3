/**
 * What every link must do, whatever carries it: `linkContract(name, makePair)` registers the same tests for each transport, so that the
 * memory link, on which whole networks are simulated, cannot promise more than a real one keeps.
 */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { type NodeId, readU32, writeU32 } from '../../src/bytes/index.ts'
import {
  BODY_BYTES,
  CELL_BYTES,
  CELL_HEADER_BYTES,
  type CircuitId,
  Command,
  circuitIdAt,
  commandAt,
} from '../../src/cell/index.ts'
import { isOverlayError } from '../../src/errors/index.ts'
import {
  LANE_CELLS_MAX,
  type Lane,
  LINK_CELLS_MAX,
  type Link,
  type LinkCloseReason,
  type LinkHost,
  type LinkReceiver,
  TURN_CELLS,
} from '../../src/link/index.ts'
import { seededRng } from '../support/seeded-rng.ts'

/** Two started hosts that can dial one another, and the time they live in. */
export interface HostPair {
  readonly a: LinkHost
  readonly b: LinkHost
  /** Lets time go on until `done()`; throws if that does not come. */
  until(done: () => boolean, what: string): Promise<void>
  /** The outcome of `promise`, while time goes on. */
  run<T>(promise: Promise<T>): Promise<T>
  /** Lets things happen until nothing does any more, as far as that can be told. */
  quiet(): Promise<void>
  close(): Promise<void>
}

export interface ContractOptions {
  /** An address at which nobody listens. */
  readonly deadAddress: string
}

/** No signal to stop. */
const NEVER = new AbortController().signal
/** A node that is not there. */
const NOBODY = 'd'.repeat(64) as NodeId

/** Takes note of everything that a link tells it, and checks what holds in each call. */
export class Recorder implements LinkReceiver {
  cells = 0
  calls = 0
  largest = 0
  turnEnds = 0
  /** Circuit ids in the order in which cells came. */
  readonly order: number[] = []
  readonly closes: LinkCloseReason[] = []
  /** Next number expected on each circuit, for cells made by `numbered`. */
  readonly next = new Map<number, number>()
  onEach: (link: Link) => void = () => {}

  onCells(link: Link, cells: Uint8Array, count: number): void {
    assert.equal(this.closes.length, 0, 'cells after onClose')
    assert.ok(count >= 1 && count <= TURN_CELLS, `${count} cells in one call`)
    assert.equal(cells.length, count * CELL_BYTES)
    for (let at = 0; at < cells.length; at += CELL_BYTES) {
      const id = circuitIdAt(cells, at)
      assert.equal(commandAt(cells, at), Command.CIRCUIT)
      const number = this.next.get(id) ?? 0
      const body = cells.subarray(at + CELL_HEADER_BYTES, at + CELL_BYTES)
      assert.equal(readU32(body, 0), number, `circuit ${id}: a cell is missing or out of order`)
      checkFill(body, id, number)
      this.next.set(id, number + 1)
      this.order.push(id)
    }
    this.cells += count
    this.calls++
    this.largest = Math.max(this.largest, count)
    // Borrowed, and ours to change until return: nothing else may be found there afterwards.
    cells.fill(0xff)
    this.onEach(link)
  }

  onTurnEnd(): void {
    assert.equal(this.closes.length, 0, 'onTurnEnd after onClose')
    this.turnEnds++
  }

  onClose(_link: Link, reason: LinkCloseReason): void {
    this.closes.push(reason)
    assert.equal(this.closes.length, 1, 'onClose twice')
  }
}

const scratch = new Uint8Array(BODY_BYTES)

/** The body of the `number`th cell on circuit `id`. Valid until the next call. */
export function numbered(id: number, number: number): Uint8Array {
  writeU32(scratch, 0, number)
  let state = Math.imul(id ^ 0x9e3779b9, 0x85ebca6b) ^ Math.imul(number + 1, 0xc2b2ae35)
  for (let at = 4; at < BODY_BYTES; at++) {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    scratch[at] = state
  }
  return scratch
}

function checkFill(body: Uint8Array, id: number, number: number): void {
  const wanted = numbered(id, number)
  for (let at = 0; at < BODY_BYTES; at++) {
    if (body[at] !== wanted[at]) assert.fail(`circuit ${id}, cell ${number}: byte ${at} is wrong`)
  }
}

/** A lane that numbers its cells. */
export class NumberedLane {
  readonly lane: Lane
  sent = 0

  constructor(link: Link, id: number) {
    this.lane = link.lane(id as CircuitId)
  }

  push(): boolean {
    if (!this.lane.push(Command.CIRCUIT, numbered(this.lane.id, this.sent))) return false
    this.sent++
    return true
  }
}

interface Joined {
  readonly link: Link
  readonly far: Link
  readonly sender: Recorder
  readonly receiver: Recorder
}

/** A dials B. `start: false`: B's side waits to be started, like a receiver that stalls. */
async function join(pair: HostPair, { start = true }: { start?: boolean } = {}): Promise<Joined> {
  const receiver = new Recorder()
  const sender = new Recorder()
  let far: Link | null = null
  pair.b.onInbound = (link) => {
    far = link
    if (start) link.start(receiver)
  }
  const link = await pair.run(pair.a.dial(pair.b.id, pair.b.addresses, { signal: NEVER }))
  link.start(sender)
  await pair.until(() => far !== null, 'the inbound link')
  return { link, far: far!, sender, receiver }
}

/** Sends `count` cells over `lanes` in turn, as fast as the link takes them. */
async function sendAll(pair: HostPair, link: Link, lanes: readonly NumberedLane[], count: number): Promise<void> {
  let left = count
  await pair.until(() => {
    for (let tries = 0; left > 0 && tries < 200; tries++) {
      const lane = lanes[left % lanes.length]!
      if (lane.lane.queuedCells > LANE_CELLS_MAX / 2) break
      assert.ok(lane.push())
      left--
    }
    link.flush()
    return left === 0
  }, 'all cells to be taken')
}

/** Pushes until the lanes are full and nothing moves any more. */
async function fill(pair: HostPair, link: Link, lanes: readonly NumberedLane[]): Promise<void> {
  for (let moved = true; ; ) {
    moved = false
    await pair.until(() => {
      let taken = false
      for (const lane of lanes) while (lane.push()) taken = true
      link.flush()
      moved ||= taken
      return !taken
    }, 'the lanes to be full')
    // At once: however long it has been quiet, what lies under the lanes may move again.
    if (!moved) return
    await pair.quiet()
  }
}

export function linkContract(name: string, makePair: () => Promise<HostPair>, { deadAddress }: ContractOptions): void {
  const contract = (title: string, body: (pair: HostPair) => Promise<void>) =>
    test(title, { timeout: 60_000 }, async () => {
      const pair = await makePair()
      try {
        await body(pair)
      } finally {
        await pair.close()
      }
    })

  describe(`link contract: ${name}`, () => {
    contract('both ends agree on who they are, who dialled, and who uses even ids', async (pair) => {
      const { link, far } = await join(pair)
      assert.equal(link.peer, pair.b.id)
      assert.equal(far.peer, pair.a.id)
      assert.deepEqual([link.dialled, far.dialled], [true, false])
      assert.deepEqual([link.open, far.open], [true, true])
      assert.equal(link.even, pair.a.id < pair.b.id)
      assert.equal(far.even, !link.even)
      assert.equal(link.transport, far.transport)
    })

    contract('10,000 cells in random batches over several lanes come whole and in order', async (pair) => {
      const { link, receiver } = await join(pair)
      const rng = seededRng('batches')
      const lanes = [2, 4, 6, 0xffff_fffe].map((id) => new NumberedLane(link, id))
      let left = 10_000
      await pair.until(() => {
        for (let batch = Math.min(left, rng.below(90)); batch > 0; batch--) {
          const lane = lanes[rng.below(lanes.length)]!
          if (lane.lane.queuedCells < LANE_CELLS_MAX && lane.push()) left--
        }
        link.flush()
        return left === 0
      }, 'all cells to be taken')
      await pair.until(() => receiver.cells === 10_000, 'all cells to come')
      for (const lane of lanes) assert.equal(receiver.next.get(lane.lane.id), lane.sent)
      assert.equal(receiver.turnEnds, receiver.calls)
      // Batching is what the speed rests on: many cells per call on average, and never more than a turn takes.
      assert.ok(receiver.calls <= 10_000 / 4, `${receiver.calls} calls for 10,000 cells`)
    })

    contract('a cell that is not flushed stays; a full block goes by itself', async (pair) => {
      const { link, receiver } = await join(pair)
      const lane = new NumberedLane(link, 2)
      assert.ok(lane.push())
      await pair.quiet()
      assert.equal(receiver.cells, 0)
      link.flush()
      link.flush()
      await pair.until(() => receiver.cells === 1, 'the cell')
    })

    contract('large bursts in both directions at once do not block each other', async (pair) => {
      const { link, far, sender, receiver } = await join(pair)
      const there = [2, 4].map((id) => new NumberedLane(link, id))
      const back = [1, 3].map((id) => new NumberedLane(far, id))
      await Promise.all([sendAll(pair, link, there, 4_000), sendAll(pair, far, back, 4_000)])
      await pair.until(() => receiver.cells === 4_000 && sender.cells === 4_000, 'both bursts')
    })

    contract('echoed from within onCells, every cell comes back', async (pair) => {
      const { link, far, sender, receiver } = await join(pair)
      const back = new NumberedLane(far, 7)
      const echo = () => {
        for (let owed = receiver.cells - back.sent; owed > 0 && back.push(); owed--);
        far.flush()
      }
      receiver.onEach = echo
      await sendAll(pair, link, [new NumberedLane(link, 2)], 3_000)
      await pair.until(() => {
        echo() // what found its lane full
        return sender.cells === 3_000
      }, 'the echoes')
    })

    contract('a receiver that stalls bounds the sender; limits refuse, and nothing accepted is lost', async (pair) => {
      const { link, far, receiver } = await join(pair, { start: false })
      const lanes = Array.from({ length: LINK_CELLS_MAX / LANE_CELLS_MAX }, (_, at) => new NumberedLane(link, 2 * at + 2))
      await fill(pair, link, lanes)
      const queued = lanes.reduce((sum, { lane }) => sum + lane.queuedCells, 0)
      assert.equal(queued, LINK_CELLS_MAX)
      for (const { lane } of lanes) assert.ok(lane.queuedCells <= LANE_CELLS_MAX)
      const sent = lanes.reduce((sum, lane) => sum + lane.sent, 0)
      // What is beyond the lanes is in the kernel's buffers and the receiver's inbox: 32 MiB is far above any of them.
      assert.ok(sent - queued < (32 * 1024 * 1024) / CELL_BYTES, `${sent - queued} cells beyond the lanes`)
      far.start(receiver)
      await pair.until(() => receiver.cells === sent, 'all that was accepted')
      for (const lane of lanes) assert.equal(receiver.next.get(lane.lane.id) ?? 0, lane.sent)
      assert.deepEqual(receiver.closes, [])
    })

    contract('lanes that wait are served in turn, one cell each', async (pair) => {
      const { link, far, receiver } = await join(pair, { start: false })
      const flood = new NumberedLane(link, 2)
      await fill(pair, link, [flood])
      const few = [4, 6].map((id) => new NumberedLane(link, id))
      for (const lane of few) for (let cell = 0; cell < 50; cell++) assert.ok(lane.push())
      far.start(receiver)
      await pair.until(() => receiver.cells === flood.sent + 100, 'all cells')
      const first = receiver.order.findIndex((id) => id !== 2)
      const last = receiver.order.findLastIndex((id) => id !== 2)
      // 50 rounds of three lanes: the flood gets one cell in each, not all its own first.
      assert.ok(last - first < 150, `${last - first} places for 150 cells`)
      const stretch = receiver.order.slice(first, first + 147)
      for (const id of [2, 4, 6]) assert.ok(stretch.filter((other) => other === id).length >= 48, `circuit ${id}`)
    })

    contract('a closed lane drops what waits, refuses, and leaves the others alone', async (pair) => {
      const { link, far, receiver } = await join(pair, { start: false })
      const lane = new NumberedLane(link, 2)
      const other = new NumberedLane(link, 4)
      await fill(pair, link, [lane])
      for (let cell = 0; cell < 20; cell++) assert.ok(other.push())
      const waiting = lane.lane.queuedCells
      assert.equal(waiting, LANE_CELLS_MAX)
      lane.lane.close()
      lane.lane.close()
      assert.equal(lane.lane.queuedCells, 0)
      assert.equal(lane.push(), false)
      far.start(receiver)
      await pair.until(() => receiver.cells === lane.sent - waiting + 20, 'the rest')
      assert.equal(receiver.next.get(4), 20)
    })

    contract('a body of another length is refused', async (pair) => {
      const { link } = await join(pair)
      const lane = link.lane(2 as CircuitId)
      assert.equal(lane.push(Command.CIRCUIT, new Uint8Array(BODY_BYTES - 1)), false)
      assert.equal(lane.push(Command.CIRCUIT, new Uint8Array(BODY_BYTES + 1)), false)
    })

    contract('close: what was flushed arrives, each side hears once, and nothing follows', async (pair) => {
      const { link, far, sender, receiver } = await join(pair)
      const lane = new NumberedLane(link, 2)
      for (let cell = 0; cell < 40; cell++) assert.ok(lane.push())
      link.close('local')
      link.close('local')
      link.close('error')
      assert.equal(link.open, false)
      assert.deepEqual(sender.closes, [], 'onClose comes in a later turn')
      assert.equal(lane.push(), false)
      link.flush()
      await pair.until(() => sender.closes.length === 1 && receiver.closes.length === 1, 'both ends to hear')
      assert.deepEqual([sender.closes, receiver.closes], [['local'], ['remote']])
      assert.equal(receiver.cells, 40)
      assert.equal(far.open, false)
      far.close('local')
      await pair.quiet()
      assert.deepEqual([sender.closes.length, receiver.closes.length], [1, 1])
    })

    contract('the accepting side can close too, from within onCells, for a breach of protocol', async (pair) => {
      const { link, sender, receiver } = await join(pair)
      receiver.onEach = (far) => far.close('protocol')
      const lane = new NumberedLane(link, 2)
      for (let cell = 0; cell < 100; cell++) lane.push()
      link.flush()
      await pair.until(() => sender.closes.length === 1 && receiver.closes.length === 1, 'both ends to hear')
      assert.deepEqual([sender.closes, receiver.closes], [['remote'], ['protocol']])
      assert.equal(receiver.calls, 1)
    })

    contract('a link that was closed before its start says so after it', async (pair) => {
      const { link, far } = await join(pair, { start: false })
      link.close('local')
      await pair.until(() => !far.open, 'the far end to notice')
      const late = new Recorder()
      far.start(late)
      assert.deepEqual(late.closes, [])
      await pair.until(() => late.closes.length === 1, 'the late close')
      assert.deepEqual(late.closes, ['remote'])
    })

    contract('a peer with another id than asked for is refused', async (pair) => {
      const inbound: Link[] = []
      pair.b.onInbound = (link) => {
        inbound.push(link)
        link.start(new Recorder())
      }
      const bare = pair.b.addresses.map((address) => address.replace(/\/p2p\/.*$/, ''))
      const dialled = pair.run(pair.a.dial(NOBODY, bare, { signal: NEVER }))
      await assert.rejects(dialled, (error) => isOverlayError(error, 'LINK_WRONG_PEER'))
      await pair.quiet()
      // The far end may have seen a link come, but then it saw it go.
      assert.ok(inbound.every((link) => !link.open))
    })

    contract('an address at which nobody listens is unreachable, a later one is tried', async (pair) => {
      const unreachable = pair.run(pair.a.dial(NOBODY, [deadAddress], { signal: NEVER }))
      await assert.rejects(unreachable, (error) => isOverlayError(error, 'LINK_UNREACHABLE'))
      const nonsense = pair.run(pair.a.dial(NOBODY, ['', '/', 'nonsense', '/dnsaddr/x'], { signal: NEVER }))
      await assert.rejects(nonsense, (error) => isOverlayError(error, 'LINK_UNREACHABLE'))
      pair.b.onInbound = (link) => link.start(new Recorder())
      const link = await pair.run(pair.a.dial(pair.b.id, ['nonsense', deadAddress, ...pair.b.addresses], { signal: NEVER }))
      assert.equal(link.open, true)
    })

    contract("a dial ends with the signal's own reason", async (pair) => {
      const reason = new Error('enough')
      const aborted = AbortSignal.abort(reason)
      await assert.rejects(pair.run(pair.a.dial(pair.b.id, pair.b.addresses, { signal: aborted })), (error) => error === reason)
      pair.b.onInbound = (link) => link.start(new Recorder())
      const controller = new AbortController()
      const dialled = pair.a.dial(pair.b.id, pair.b.addresses, { signal: controller.signal })
      controller.abort(reason)
      await assert.rejects(pair.run(dialled), (error) => error === reason)
    })

    contract('one link per peer: a second dial is refused, after a close it works again', async (pair) => {
      const { link, sender, receiver } = await join(pair)
      const again = () => pair.run(pair.a.dial(pair.b.id, pair.b.addresses, { signal: NEVER }))
      await assert.rejects(again(), (error) => isOverlayError(error, 'LINK_DUPLICATE'))
      link.close('local')
      await pair.until(() => sender.closes.length === 1 && receiver.closes.length === 1, 'both ends to hear')
      const second = await join(pair)
      assert.equal(second.link.open, true)
    })

    const bothDial = async (pair: HostPair, first: LinkHost, second: LinkHost) => {
      const live = new Map<LinkHost, Set<Link>>([
        [pair.a, new Set()],
        [pair.b, new Set()],
      ])
      const keep = (host: LinkHost, link: Link) => {
        assert.equal(live.get(host)!.size, 0, 'the link that loses is closed before the other is handed over')
        live.get(host)!.add(link)
        const recorder = new Recorder()
        link.start({
          onCells: (...cells) => recorder.onCells(...cells),
          onTurnEnd: () => recorder.onTurnEnd(),
          onClose: () => void live.get(host)!.delete(link),
        })
        return recorder
      }
      pair.a.onInbound = (link) => void keep(pair.a, link)
      pair.b.onInbound = (link) => void keep(pair.b, link)
      const dial = (from: LinkHost, to: LinkHost) =>
        from.dial(to.id, to.addresses, { signal: NEVER }).then(
          (link) => void keep(from, link),
          (error: unknown) => assert.ok(isOverlayError(error, 'LINK_DUPLICATE'), String(error)),
        )
      await pair.run(Promise.all([dial(first, second), dial(second, first)]))
      const links = () => [...live.values()].map(([link]) => link)
      // Both dials are over when either side may still have to hear of the other's: of the link that stays, or of the end of one that did not.
      await pair.until(() => {
        const [one, other] = links()
        return one !== undefined && other !== undefined && one.dialled !== other.dialled
      }, 'the same link on both sides')
      await pair.quiet()
      const [one, other] = links()
      assert.ok(one !== undefined && other !== undefined)
      assert.equal(one.dialled, !other.dialled)
      const lane = new NumberedLane(one, 2)
      assert.ok(lane.push())
      one.flush()
      await pair.quiet()
      assert.deepEqual([one.open, other.open], [true, true])
    }
    contract('both dial at once: one link stays, the same on both sides, and it works', (pair) => bothDial(pair, pair.a, pair.b))
    contract('both dial at once, the other one first', (pair) => bothDial(pair, pair.b, pair.a))

    contract('a host that closes ends its links and dials no more', async (pair) => {
      const { link, sender, receiver } = await join(pair)
      await pair.run(pair.b.close())
      await pair.until(() => sender.closes.length === 1 && receiver.closes.length === 1, 'both ends to hear')
      assert.deepEqual([sender.closes, receiver.closes], [['remote'], ['local']])
      assert.equal(link.open, false)
      await pair.run(pair.b.close())
      const late = pair.run(pair.b.dial(pair.a.id, pair.a.addresses, { signal: NEVER }))
      await assert.rejects(late, (error) => isOverlayError(error, 'LINK_UNREACHABLE'))
    })
  })
}

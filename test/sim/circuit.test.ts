/**
 * Whole loops on memory links and a fake clock: what their members can see (P2), what they must carry (P3) and how they are built (P4).
 * Keys come from the system's randomness, so statistics have bounds that chance does not reach (one run in 10^5 or less).
 */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { test } from 'node:test'
import { deflateSync } from 'node:zlib'
import { APEX_LINK_BYTES_MAX } from '../../relay/apex.ts'
import { concat, le32 } from '../../src/bytes/index.ts'
import { BODY_BYTES, CELL_BYTES, type CircuitId, Command } from '../../src/cell/index.ts'
import { WINDOW_CELLS_MAX } from '../../src/circuit/index.ts'
import { SETUP_BYTES, SETUP_CELLS } from '../../src/circuit/setup/index.ts'
import { LANE_CELLS_MAX, LINK_WRITE_AHEAD_BYTES } from '../../src/link/index.ts'
import type { WireShape } from '../../src/link/memory.ts'
import { writeStreamHeader } from '../../src/stream/frames.ts'
import {
  HOP_CREDIT_BYTES,
  MessageReader,
  ResetCode,
  STREAM_CREDIT_BYTES,
  STREAMS_MAX,
  sendMessage,
} from '../../src/stream/index.ts'
import { encodeHopRequest } from '../../src/wire/index.ts'
import { type FakeMesh, startFakeMesh } from '../support/fake-mesh.ts'

/** Per node what came in and went out, in order: direction, command and length. */
function recordEvents({ taps, mesh }: FakeMesh) {
  const events = mesh.nodes.map(() => [] as { readonly way: 'in' | 'out'; readonly command: number; readonly bytes: number }[])
  for (const { self, end } of taps.all()) {
    end.tap.incoming = (cell) => {
      events[self]!.push({ way: 'in', command: cell.command, bytes: cell.body.length })
      return [cell]
    }
    end.tap.outgoing = (_id, command, body) => events[self]!.push({ way: 'out', command, bytes: body.length })
  }
  return events
}

/** `requests` of 64 KiB one way, `at once` under way. The same number of bytes moves up or down. */
async function work(sim: FakeMesh, way: 'up' | 'down', requests: number, atOnce: number) {
  const loop = await sim.build()
  const never = new AbortController()
  const up = encodeHopRequest({ kind: 'ping', filler: new Uint8Array(65_500), answerBytes: 0 })
  const down = encodeHopRequest({ kind: 'ping', filler: new Uint8Array(0), answerBytes: 65_500 })
  let left = requests
  const one = async () => {
    while (left-- > 0) await loop.ask(way === 'up' ? up : down, never)
  }
  await sim.clock.runFor(Promise.all(Array.from({ length: atOnce }, one)))
  return loop
}

test('P2: at every member one cell goes out for each that comes in, of one size, when publishing and when fetching alike', async () => {
  const totals: number[] = []
  for (const way of ['up', 'down'] as const) {
    const sim = await startFakeMesh(`p2 ${way}`)
    const events = recordEvents(sim)
    await work(sim, way, 24, 8)
    const circuits = events.map((list) => list.filter(({ command }) => command === Command.CIRCUIT))
    for (const [index, list] of circuits.entries()) {
      assert.ok(list.every(({ bytes }) => bytes === BODY_BYTES))
      const outs = list.filter(({ way: direction }) => direction === 'out').length
      assert.equal(2 * outs, list.length, `node ${index}: as many out as in`)
      // At a member the cells of a turn come in and the same number leaves before anything else comes in; the origin sends first.
      if (index === 0) continue
      let owed = 0
      for (const [at, event] of list.entries()) {
        owed += event.way === 'in' ? 1 : -1
        assert.ok(owed >= 0, `node ${index}: a cell before its cause`)
        const next = list[at + 1]
        if (event.way === 'out' && (next === undefined || next.way === 'in')) assert.equal(owed, 0)
      }
    }
    // Nothing but the circuit's cells while it works: no member says anything of its own.
    for (const list of events) {
      const others = list.filter(({ command }) => command !== Command.CIRCUIT)
      assert.ok(others.every(({ command }) => command === Command.SETUP))
      assert.equal(others.length, 2 * SETUP_CELLS)
    }
    const counts = circuits.map((list) => list.length / 2)
    assert.ok(
      counts.every((count) => count === counts[0]),
      'every member carries the same number',
    )
    totals.push(counts[0]!)
    await sim.close()
  }
  const [up, down] = totals as [number, number]
  assert.ok(Math.abs(up - down) < 0.05 * Math.max(up, down), `cells for the same bytes: ${up} up, ${down} down`)
})

test('P2: cells sent by one timetable make one trace at every member, whether they publish, fetch, or carry nothing', async () => {
  const traces: string[][] = []
  for (const content of ['publish', 'fetch', 'filler'] as const) {
    const sim = await startFakeMesh('one timetable')
    const origin = await sim.buildRaw()
    const started = sim.clock.monotonicMs()
    const trace = sim.mesh.nodes.map(() => [] as string[])
    for (const { self, end } of sim.taps.all()) {
      const note = (way: string, command: number, bytes: number) =>
        trace[self]!.push(`${sim.clock.monotonicMs() - started} ${way} ${command} ${bytes}`)
      end.tap.incoming = (cell) => {
        note('in', cell.command, cell.body.length)
        return [cell]
      }
      end.tap.outgoing = (_id, command, body) => note('out', command, body.length)
    }
    const bytes = 65_500
    let answer = -1
    if (content !== 'filler') {
      const reader = new MessageReader({ onMessage: (message) => (answer = message.length), onFail: () => assert.fail(content) })
      const stream = origin.mux.open(reader)!
      reader.stream = stream
      const up = content === 'publish' ? bytes : 0
      sendMessage(stream, encodeHopRequest({ kind: 'ping', filler: new Uint8Array(up), answerBytes: bytes - up }))
    }
    for (let burst = 0; burst < 12; burst++) {
      for (let cell = 0; cell < 5; cell++) origin.send(content === 'filler' ? 6 : 3)
      await sim.clock.advance(2)
    }
    if (content !== 'filler') assert.ok(content === 'fetch' ? answer > bytes : answer >= 0, `${content} is done`)
    assert.ok(trace.every((events) => events.length === 2 * 60))
    traces.push(trace.map((events) => events.join('\n')))
    await sim.close()
  }
  assert.deepEqual(traces[1], traces[0])
  assert.deepEqual(traces[2], traces[0])
})

test('P2: the apex does what every other member does: same counts, same sizes, same order, turn by turn', async () => {
  const sim = await startFakeMesh('turns')
  const events = recordEvents(sim)
  await work(sim, 'down', 6, 3)
  /** Cells in, cells out, by turn. */
  const turns = events.map((list) => {
    let text = ''
    for (const { way, command } of list) if (command === Command.CIRCUIT) text += way === 'in' ? 'i' : 'o'
    return (text.match(/i+o+/g) ?? []).map((turn) => turn.length / 2).join(' ')
  })
  for (let member = 2; member <= 5; member++) assert.equal(turns[member], turns[1], `member ${member}`)
  await sim.close()
})

/** Chi-square of counts against equal shares. */
function chiSquare(counts: readonly number[]): number {
  const expected = counts.reduce((sum, count) => sum + count, 0) / counts.length
  return counts.reduce((sum, count) => sum + (count - expected) ** 2 / expected, 0)
}

test('P2: bodies at all positions, both ways, are told apart by no byte value, no fixed place and no compression', async () => {
  const seen = new Set<string>()
  for (const way of ['up', 'down'] as const) {
    const sim = await startFakeMesh(`bodies ${way}`)
    /** By the position on the loop: 0 is origin to first hop, 5 is last hop to origin. */
    const bodies = sim.mesh.nodes.map(() => [] as Uint8Array[])
    for (const { self, peer, end } of sim.taps.all()) {
      end.tap.incoming = (cell) => {
        if (cell.command === Command.CIRCUIT) bodies[peer]!.push(cell.body)
        return [cell]
      }
      assert.notEqual(self, peer)
    }
    await work(sim, way, 12, 4)
    for (const [position, list] of bodies.entries()) {
      const where = `${way}, position ${position}, ${list.length} cells`
      assert.ok(list.length > 380, where)
      assert.ok(list.every((body) => body.length === BODY_BYTES))
      const all = concat(...list)
      // Values over all bytes: 255 degrees of freedom, standard deviation 22.6.
      const values = new Array<number>(256).fill(0)
      for (const byte of all) values[byte]!++
      assert.ok(chiSquare(values) < 255 + 8 * 22.6, `${where}: ${chiSquare(values)}`)
      // Each place of the body by itself: 16 bins, 15 degrees of freedom.
      for (let place = 0; place < BODY_BYTES; place++) {
        const bins = new Array<number>(16).fill(0)
        for (const body of list) bins[body[place]! >> 4]!++
        assert.ok(chiSquare(bins) < 80, `${where}: byte ${place}`)
      }
      assert.ok(deflateSync(all, { level: 6 }).length >= all.length, `${where}: it compresses`)
      // No body twice: not at one position, not at two (an answer is never the cell that came).
      for (const body of list) {
        const print = createHash('sha256').update(body).digest('base64')
        assert.equal(seen.has(print), false, where)
        seen.add(print)
      }
    }
    await sim.close()
  }
})

test('P4: a loop is built in exactly one round of exactly eight cells on each link, of one size', async () => {
  for (const hops of [3, 5, 7]) {
    const sim = await startFakeMesh(`p4 ${hops}`, { count: 8 })
    const cells: {
      readonly from: number
      readonly to: number
      readonly command: number
      readonly id: CircuitId
      readonly body: Uint8Array
    }[] = []
    for (const { self, peer, end } of sim.taps.all()) {
      end.tap.incoming = (cell) => {
        cells.push({ from: peer, to: self, ...cell })
        return [cell]
      }
    }
    const members = Array.from({ length: hops }, (_, at) => at + 1)
    const loop = await sim.build(0, members)
    const round = [0, ...members, 0]
    const expected = round.slice(1).flatMap((to, at) => Array.from({ length: SETUP_CELLS }, () => `${round[at]} ${to}`))
    assert.deepEqual(
      cells.map(({ from, to }) => `${from} ${to}`),
      expected,
    )
    assert.ok(cells.every(({ command, body }) => command === Command.SETUP && body.length === BODY_BYTES))
    // The packet: one length, whoever reads it, and new bytes for each.
    for (let link = 0; link < round.length - 1; link++) {
      const parts = cells.slice(link * SETUP_CELLS, (link + 1) * SETUP_CELLS)
      assert.equal(new Set(parts.map(({ id }) => id)).size, 1)
      assert.deepEqual(
        parts.map(({ body }) => body[0]),
        [0, 1, 2, 3, 4, 5, 6, 7],
      )
      const partBytes = SETUP_BYTES / SETUP_CELLS
      assert.ok(parts.every(({ body }) => body.subarray(1 + partBytes).every((byte) => byte === 0)))
    }
    assert.equal(new Set(cells.map(({ body }) => Buffer.from(body).toString('base64'))).size, cells.length)
    // And nothing of the kind ever after.
    const before = cells.length
    await sim.ping(loop, 5_000, 5_000)
    assert.ok(cells.slice(before).every(({ command }) => command === Command.CIRCUIT))
    await sim.close()
  }
})

/** Cells of node 0's loop in flight at any time, and the most there were. */
function watchFlight(sim: FakeMesh) {
  const flight = { now: 0, most: 0 }
  sim.taps.end(0, 1).tap.outgoing = (_id, command) => {
    if (command !== Command.CIRCUIT) return
    flight.now++
    flight.most = Math.max(flight.most, flight.now)
    assert.ok(flight.now <= WINDOW_CELLS_MAX, 'more in flight than the largest window')
  }
  sim.taps.end(0, 5).tap.incoming = (cell) => {
    if (cell.command === Command.CIRCUIT) flight.now--
    return [cell]
  }
  return flight
}

test('P3: in flight never above the window, on ways fast, long and slow', async () => {
  const shapes: readonly (readonly [string, WireShape, number])[] = [
    ['long', { delayMs: 10 }, 6],
    ['slow', { delayMs: 1, bytesPerSec: 400 * CELL_BYTES }, 2],
    ['both', { delayMs: 15, bytesPerSec: 4000 * CELL_BYTES }, 4],
  ]
  for (const [name, shape, requests] of shapes) {
    const sim = await startFakeMesh(`flight ${name}`, { shape: () => shape })
    const flight = watchFlight(sim)
    const loop = await work(sim, 'down', requests, 4)
    const { windowCells, inFlight } = loop.figures
    assert.ok(windowCells <= WINDOW_CELLS_MAX && inFlight <= windowCells, name)
    assert.ok(flight.most > 4, name)
    loop.close()
    await sim.close()
  }
})

test('P3: a slow relay holds a few cells of a loop, not a window of them', async () => {
  // All links are quick but those out of hop 3: 200 cells a second. The ids follow from the seed.
  let slowId = ''
  const slow = await startFakeMesh('slow relay', {
    shape: (from) => (from === slowId ? { delayMs: 1, bytesPerSec: 200 * CELL_BYTES } : { delayMs: 1 }),
    onIds: (ids) => {
      slowId = ids[3]!
    },
  })
  let held = 0
  const samples: number[] = []
  for (const { self, end } of slow.taps.all()) {
    if (self === 4) {
      end.tap.incoming = (cell) => {
        if (cell.command === Command.CIRCUIT) samples.push(--held)
        return [cell]
      }
    }
    if (self === 3) end.tap.outgoing = (_id, command) => void (command === Command.CIRCUIT && held++)
  }
  const loop = await slow.build()
  const never = new AbortController()
  const down = encodeHopRequest({ kind: 'ping', filler: new Uint8Array(0), answerBytes: 65_000 })
  const asked = Promise.all(Array.from({ length: 30 }, () => loop.ask(down, never)))
  await slow.clock.runFor(asked)
  const late = samples.slice(200)
  const mean = late.reduce((sum, value) => sum + value, 0) / late.length
  assert.ok(late.length > 500)
  assert.ok(mean > 1 && mean < 32, `${mean} cells held on average`)
  await slow.close()
})

test('P3: an origin that asks much and never polls: the hop holds what credit and the stream limit let it, and refuses the rest', async () => {
  const sim = await startFakeMesh('never polls')
  const origin = await sim.buildRaw()
  const apex = 3
  const ends: (number | null)[] = []
  let got = 0
  const ask = encodeHopRequest({ kind: 'ping', filler: new Uint8Array(0), answerBytes: 60_000 })
  const open = () => {
    const stream = origin.mux.open({
      onData: (_bytes, _at, length) => {
        got += length
        stream?.consumed(length)
      },
      onFin: () => {},
      onClose: (code) => void ends.push(code),
    })
    return stream
  }
  for (let opened = 0; opened < STREAMS_MAX; opened++) sendMessage(open()!, ask)
  while (origin.mux.hasOutput) origin.send(apex)
  await sim.clock.settle()
  assert.equal(open(), null)
  // It lies about the limit: a stream more, by hand, is refused with BUSY and takes nothing.
  const liar = new Uint8Array(2027)
  liar.set(concat(Uint8Array.of(1), le32(1 + 2 * STREAMS_MAX), new Uint8Array(6), Uint8Array.of(1, 0, 9)))
  origin.send(apex, liar)
  await sim.clock.advance(25_000)
  assert.equal(origin.gone, null)
  const sent = origin.home.length
  assert.ok(got < sent * 2027, 'no answer comes but in a cell of the origin')
  const reset = origin.home.at(-1)!.frames!
  assert.deepEqual([...reset.subarray(3, 9)], [3, ...le32(1 + 2 * STREAMS_MAX), ResetCode.BUSY])
  // It may still come and take everything.
  for (let cell = 0; cell < 6_000 && origin.mux.openStreams > 0; cell++) {
    origin.send(apex)
    if (cell % 32 === 0) await sim.clock.settle()
  }
  await sim.clock.settle()
  assert.ok(origin.home.every(({ frames }) => frames !== null))
  assert.deepEqual(ends, new Array(STREAMS_MAX).fill(null))
  assert.ok(got > STREAMS_MAX * 60_000)
  origin.close()
  await sim.close()
})

/** A STREAM frame as an origin would send it, filled with zeros. */
function streamCell(id: number, offset: number, length: number): Uint8Array {
  const frames = new Uint8Array(2027)
  writeStreamHeader(frames, 0, id, offset, length, false)
  return frames
}

test('P3: an origin that sends without end takes no memory: one refusal, and what follows is dropped', async () => {
  const sim = await startFakeMesh('endless')
  const origin = await sim.buildRaw()
  const bytes = 2027 - 13
  for (let cell = 0; cell < 3 * (HOP_CREDIT_BYTES / bytes); cell++) {
    origin.send(3, streamCell(1, cell * bytes, bytes))
    if (cell % 32 === 0) await sim.clock.settle()
  }
  await sim.clock.settle()
  assert.equal(origin.gone, null)
  // A message of length 0 with more behind it: RESET, once.
  const resets = origin.home.filter(({ frames }) => frames?.[3] === 3)
  assert.equal(resets.length, 1)
  await sim.close()
})

test('P3: an origin that goes beyond its credit, or otherwise breaks the stream protocol, gets nothing more out of the hop', async () => {
  for (const [name, frames] of [
    ['credit', streamCell(1, STREAM_CREDIT_BYTES - 5, 10)],
    ['even id', streamCell(2, 0, 10)],
    ['unknown frame', Uint8Array.of(9)],
    ['backlog', Uint8Array.of(5, 1, 0)],
    ['ack', Uint8Array.of(4, 0, 0, 0, 0)],
  ] as const) {
    const sim = await startFakeMesh(`breach ${name}`)
    const origin = await sim.buildRaw()
    const ping = () => {
      sendMessage(
        origin.mux.open({ onData: () => {}, onFin: () => {}, onClose: () => {} })!,
        encodeHopRequest({ kind: 'ping', filler: new Uint8Array(0), answerBytes: 20_000 }),
      )
      origin.send(3)
    }
    ping()
    await sim.clock.settle()
    origin.send(3, frames)
    for (let at = 0; at < 20; at++) ping()
    await sim.clock.settle()
    // The cells go on as ever (a hop that stopped would be known to its neighbours as the apex), with nothing in them.
    assert.equal(origin.gone, null, name)
    assert.equal(sim.mesh.nodes[3]!.relay.relayed, 1, name)
    assert.equal(origin.home.length, 22)
    for (const { frames: answer } of origin.home.slice(2)) {
      assert.ok(answer !== null)
      assert.ok(
        answer.subarray(3).every((byte) => byte === 0),
        `${name}: an answer`,
      )
    }
    await sim.close()
  }
})

test('P3: an origin that ignores its window fills one lane and loses the loop; the others go on', async () => {
  const shape = { delayMs: 1, bytesPerSec: 2000 * CELL_BYTES }
  const sim = await startFakeMesh('no window', { shape: () => shape })
  const bystander = await sim.build()
  const origin = await sim.buildRaw()
  let refused = false
  for (let cell = 0; cell < 4_000 && !refused; cell++) refused = !origin.send(6, new Uint8Array(2027))
  assert.ok(refused, 'the lane has an end')
  await sim.clock.advance(4_000)
  assert.equal(sim.ended.get(bystander), undefined)
  assert.equal((await sim.ping(bystander, 10, 100)).body.length, 100)
  await sim.close()
})

test('P3: an origin that reads next to nothing: its last member holds one lane of cells, then gives the circuit up', async () => {
  let ids: readonly string[] = []
  // Only the way home is slow: 20 cells a second, behind the link's write-ahead.
  const sim = await startFakeMesh('never reads', {
    shape: (from, to) => (from === ids[5] && to === ids[0] ? { delayMs: 1, bytesPerSec: 20 * CELL_BYTES } : { delayMs: 1 }),
    onIds: (all) => {
      ids = all
    },
  })
  const bystander = await sim.build(1, [2, 5, 4])
  const origin = await sim.buildRaw()
  let held = 0
  let most = 0
  sim.taps.end(5, 0).tap.outgoing = (_id, command, _body, taken) => {
    if (command === Command.CIRCUIT && taken) most = Math.max(most, ++held)
  }
  sim.taps.end(0, 5).tap.incoming = (cell) => {
    held--
    return [cell]
  }
  for (let cell = 0; cell < 2_000 && sim.mesh.nodes[5]!.relay.relayed === 2; cell++) {
    origin.send(6, new Uint8Array(2027))
    if (cell % 16 === 0) await sim.clock.advance(2)
  }
  assert.equal(sim.mesh.nodes[5]!.relay.relayed, 1, 'the circuit was given up')
  assert.ok(most <= LANE_CELLS_MAX + LINK_WRITE_AHEAD_BYTES / CELL_BYTES + 32, `${most} cells`)
  assert.equal((await sim.ping(bystander, 10, 1_000)).body.length, 1_000)
  await sim.close()
})

test('an apex that is asked for more than one link may hold gives up what waits longest, serves who comes, and is whole again when the loops are gone', async () => {
  const sim = await startFakeMesh('apex memory')
  const origins = []
  let refused = 0
  let opened = 0
  // Streams that begin a request of 64 KiB and never end it: each is charged with it.
  for (let loop = 0; loop < 12; loop++) {
    const origin = await sim.buildRaw()
    origins.push(origin)
    for (let at = 0; at < STREAMS_MAX; at++) {
      const stream = origin.mux.open({ onData: () => {}, onFin: () => {}, onClose: () => void refused++ })!
      stream.write(Uint8Array.of(0, 0, 1, 0))
      opened++
      if (at % 64 === 63) origin.send(3)
    }
    for (let at = 0; at < 4; at++) origin.send(3)
    await sim.clock.settle()
  }
  const { apex } = sim.mesh.nodes[3]!
  assert.ok(apex.heldBytes <= APEX_LINK_BYTES_MAX && apex.heldBytes > 0.99 * APEX_LINK_BYTES_MAX)
  // Those that went were the oldest: their origins hear it with their next cells.
  for (const origin of origins) for (let at = 0; at < 4; at++) origin.send(3)
  await sim.clock.settle()
  assert.ok(refused > 0 && refused < opened / 2, `${refused} of ${opened} refused`)
  // Over the same link, and over another one.
  const same = await sim.build()
  assert.equal((await sim.ping(same, 65_000, 10)).body.length, 10)
  const other = await sim.build(0, [5, 4, 3, 1, 2])
  assert.equal((await sim.ping(other, 65_000, 10)).body.length, 10)
  for (const origin of origins) origin.close()
  // Nobody tells the members; they give up the silent circuits by themselves.
  await sim.clock.advance(150_000)
  assert.equal(apex.heldBytes, 0)
  const loop = await sim.build()
  assert.equal((await sim.ping(loop, 0, 10)).body.length, 10)
  await sim.close()
})

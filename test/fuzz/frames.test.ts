/**
 * Frames of a hostile peer, at both ends of the streams: no input throws, memory stays within credit, and what was delivered before a fault
 * is what was sent. Seeded; `FUZZ_SEED` chooses another run.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  HOP_CREDIT_BYTES,
  ORIGIN_CREDIT_BYTES,
  PAYLOAD_BYTES,
  PAYLOAD_FRAME_BYTES,
  ResetCode,
  STREAMS_MAX,
  StreamMux,
} from '../../src/stream/index.ts'
import { counted } from '../support/fuzzing.ts'
import { seededRng } from '../support/seeded-rng.ts'

const SEED = process.env.FUZZ_SEED ?? '1'
const RUNS = 1_500

for (const [role, lossy] of [
  ['hop', false],
  ['origin', false],
  ['hop', true],
  ['origin', true],
] as const) {
  test(`the ${role}'s end under random frames${lossy ? ', where cells may be lost' : ''}`, (t) => {
    t.diagnostic(`FUZZ_SEED=${SEED}`)
    const rng = seededRng(`mux ${role} ${lossy ? 'lossy ' : ''}${SEED}`)
    let breaches = 0
    for (let run = 0; run < RUNS; run++) {
      let held = 0
      let open = 0
      const events = () => {
        open++
        let over = false
        return {
          onData: (bytes: Uint8Array, at: number, length: number) => {
            assert.ok(!over && length > 0 && at + length <= bytes.length)
            held += length
          },
          onFin: () => assert.ok(!over),
          onClose: () => {
            assert.ok(!over)
            over = true
            open--
          },
        }
      }
      const mux = new StreamMux({
        role,
        wake: () => {},
        ...(lossy ? { lossy: { rate: 8 } } : {}),
        onOpen: () => (rng.below(4) === 0 ? ResetCode.REFUSED : events()),
      })
      // Half of them are joined with another circuit.
      let payloads = 0
      let gone = 0
      const joined = run % 2 === 0
      const flow = {
        get due() {
          return rng.below(2) === 0
        },
        waiting: rng.below(300),
        take: (into: Uint8Array, at: number) => void into.fill(0xab, at, at + PAYLOAD_BYTES),
        onPayload: (bytes: Uint8Array, at: number) => {
          assert.ok(gone === 0 && at + PAYLOAD_BYTES <= bytes.length)
          payloads++
        },
        onGone: () => void gone++,
      }
      if (joined) assert.ok(mux.attach(flow))
      if (role === 'origin') for (let at = 0; at < 8; at++) mux.open(events())!.write(rng.bytes(50))
      const cell = new Uint8Array(run % 4 < 2 ? 2027 : 300)
      for (let turn = 0; turn < 12; turn++) {
        cell.fill(0)
        let at = 0
        while (at < cell.length - 14 && rng.below(6) > 0) {
          const common = lossy && role === 'hop' && rng.below(4) === 0 ? 4 : [1, 1, 2, 3, 5][rng.below(role === 'hop' ? 4 : 5)]!
          const payload = cell.length > PAYLOAD_FRAME_BYTES && at < 50 && rng.below(joined ? 3 : 60) === 0
          const type = rng.below(60) === 0 ? rng.below(256) : payload ? 6 : common
          cell[at] = type
          cell[at + 1] = 1 + 2 * rng.below(role === 'hop' ? 12 : 8)
          if (type === 1) {
            cell[at + 5] = rng.below(100) === 0 ? rng.below(256) : 0
            cell[at + 11] = rng.below(Math.min(256, cell.length - at - 13))
            cell[at + 12] = rng.below(role === 'hop' ? 5 : 60) === 0 ? 0x80 : 0
          }
          if (type === 4) {
            cell[at + 1] = 1
            cell[at + 2] = rng.below(turn + 1)
            cell.fill(0, at + 3, at + 8)
          }
          if (rng.below(100) === 0) cell[at + rng.below(13)] = rng.below(256)
          at +=
            type === 4
              ? 8
              : type === 6
                ? PAYLOAD_FRAME_BYTES
                : type === 1
                  ? 13 + cell[at + 11]!
                  : type === 2
                    ? 11
                    : type === 5
                      ? 3
                      : 6
        }
        if (lossy && role === 'origin') {
          if (rng.below(3) === 0) mux.lost(rng.below(turn + 1))
          else mux.arrived(rng.below(turn + 1))
        }
        counted(1)
        if (!mux.receive(cell, 0, cell.length, turn + 1)) {
          breaches++
          break
        }
        assert.ok(mux.openStreams <= STREAMS_MAX)
        assert.ok(held <= (role === 'hop' ? HOP_CREDIT_BYTES : ORIGIN_CREDIT_BYTES))
        mux.fill(cell, 0, cell.length, turn + 1)
      }
      mux.close(ResetCode.CANCELLED)
      assert.ok(open >= 0)
      assert.equal(gone, joined ? 1 : 0)
      if (!joined) assert.equal(payloads, 0)
      assert.equal(mux.openStreams, 0)
    }
    assert.ok(breaches > RUNS / 20 && breaches < RUNS, `${breaches} of ${RUNS} ended in a breach: the generator says too little`)
  })
}

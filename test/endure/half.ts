/**
 * Half of a network dies at once: `npm run endure:half -- --runs 10`. Each run is a network of eight processes of its own with fifty publications of 1 KiB
 * to 20 MiB; the publisher and three others, drawn, are killed with SIGKILL at once, all publications are fetched whole from those who are left, two
 * keepers mend what was lost, two more of the old nodes are killed, and all is fetched again. Prints for each run how long it took and how many
 * fetches were made again while loops were sought; ends with 1 if anything was lost or wrong.
 */
import { parseArgs } from 'node:util'
import { CLOCKS } from '../../src/config/index.ts'
import { systemClock } from '../../src/runtime/index.ts'
import { type HalfGone, halfGone } from '../support/half-gone.ts'
import { seededRng } from '../support/seeded-rng.ts'

const KiB = 2 ** 10
const MiB = 2 ** 20
const OBJECTS = 50
const HELP = `npm run endure:half -- [options]
  --runs N     networks, one after the other; default 10
  --seed N     of the first run: who is killed, and how long what is published; default 1
  --clock C    ${CLOCKS.join(', ')}; default swift
  --recovery S seconds in which a fetch may be made again after nodes were killed; default 60`

const { values } = parseArgs({
  options: {
    runs: { type: 'string', default: '10' },
    seed: { type: 'string', default: '1' },
    clock: { type: 'string', default: 'swift' },
    recovery: { type: 'string', default: '60' },
    help: { type: 'boolean', default: false },
  },
})
const clock = CLOCKS.find((one) => one === values.clock)
if (values.help || clock === undefined) {
  console.log(HELP)
  process.exit(values.help ? 0 : 2)
}

const beganMs = systemClock.monotonicMs()
const say = (line: string) => console.log(`${((systemClock.monotonicMs() - beganMs) / 1000).toFixed(1).padStart(7)} s  ${line}`)

/** The shortest, the longest, and the others in between, alike in each doubling. */
function lengthsOf(seed: number): number[] {
  const rng = seededRng(`half ${seed}`)
  const between = Array.from({ length: OBJECTS - 2 }, () => Math.round(KiB * ((20 * MiB) / KiB) ** rng.unit()))
  return [20 * MiB, KiB, ...between]
}

const done: HalfGone[] = []
const first = Number(values.seed)
const runs = Number(values.runs)
for (let seed = first; seed < first + runs; seed++) {
  const lengths = lengthsOf(seed)
  const mib = lengths.reduce((sum, bytes) => sum + bytes, 0) / MiB
  say(`run of seed ${seed}: ${OBJECTS} publications, ${mib.toFixed(0)} MiB`)
  try {
    done.push(
      await halfGone({ seed, lengths, clock, recoveryMs: Number(values.recovery) * 1000, say: (line) => say(`  ${line}`) }),
    )
  } catch (error) {
    say(`  FAILED: ${String(error)}`)
  }
}
const most = (of: (one: HalfGone) => number) => Math.max(0, ...done.map(of))
say(
  `${done.length} of ${runs} runs: all ${OBJECTS} publications whole with half of the nodes gone, and with two more gone after repair`,
)
say(`fetches made again while loops were sought, most in one run: ${most((one) => one.half.again + one.twoMore.again)}`)
say(
  `longest until one publication was there: ${(most((one) => Math.max(one.half.longestMs, one.twoMore.longestMs)) / 1000).toFixed(1)} s`,
)
if (done.length < runs) process.exitCode = 1

/**
 * What one set-up costs: the origin's building and checking, and each hop's handling. Prints one line of JSON for each loop length.
 * `node test/bench/setup.ts [rounds]`. Aim: at most 0.5 ms of CPU a hop, 2 ms at the origin with 5 others.
 */

import { seededRng } from '../support/seeded-rng.ts'
import { sendRound, testLoop, testNode } from '../support/setup-loops.ts'

const rounds = Number(process.argv[2] ?? 100)
const rng = seededRng(1)

/** CPU time of this process so far, in milliseconds: all threads, hence the collector's too. */
function cpuMs(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1000
}

for (const hops of [3, 5, 8, 11]) {
  const nodes = Array.from({ length: hops + 1 }, () => testNode(rng))
  for (let warm = 0; warm < 50; warm++) sendRound(testLoop({ hops, nodes, rng }))
  let [build, travel, check, usable] = [0, 0, 0, 0]
  for (let round = 0; round < rounds; round++) {
    const start = cpuMs()
    const loop = testLoop({ hops, nodes, rng })
    const built = cpuMs()
    const { received } = sendRound(loop, undefined, () => null)
    const home = cpuMs()
    if (loop.built.pending.complete(received[hops]!, nodes[hops - 1]!.id) !== null) usable++
    build += built - start
    travel += home - built
    check += cpuMs() - home
  }
  const ms = (total: number, each: number) => Number((total / each).toFixed(3))
  console.log(
    JSON.stringify({
      hops,
      rounds,
      usable,
      buildMs: ms(build, rounds),
      checkMs: ms(check, rounds),
      originMs: ms(build + check, rounds),
      hopMs: ms(travel, rounds * hops),
      allMembersMs: ms(build + check + travel, rounds),
    }),
  )
}

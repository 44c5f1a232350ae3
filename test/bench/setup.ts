/**
 * What one set-up costs: the origin's building and checking, and each hop's handling. Prints one line of JSON for each loop length.
 * `node test/bench/setup.ts [rounds]`. Aim: at most 0.5 ms of CPU a hop, 2 ms at the origin with 5 others.
 */

import { seededRng } from '../support/seeded-rng.ts'
import { sendRound, testLoop, testNode } from '../support/setup-loops.ts'

const rounds = Number(process.argv[2] ?? 100)
const rng = seededRng(1)

/** CPU milliseconds of this process that `work` takes. */
function cpuMs(work: () => void): number {
  const before = process.cpuUsage()
  work()
  const { user, system } = process.cpuUsage(before)
  return (user + system) / 1000
}

for (const hops of [3, 5, 8, 11]) {
  const nodes = Array.from({ length: hops + 1 }, () => testNode(rng))
  for (let warm = 0; warm < 20; warm++) sendRound(testLoop({ hops, nodes, rng }))
  const loops: ReturnType<typeof testLoop>[] = []
  const build = cpuMs(() => {
    for (let round = 0; round < rounds; round++) loops.push(testLoop({ hops, nodes, rng }))
  })
  const home: Uint8Array[] = []
  const travel = cpuMs(() => {
    for (const loop of loops) home.push(sendRound(loop, undefined, () => null).received[hops]!)
  })
  let usable = 0
  const check = cpuMs(() => {
    loops.forEach(({ built, nodes: members }, at) => {
      if (built.pending.complete(home[at]!, members.at(-1)!.id) !== null) usable++
    })
  })
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

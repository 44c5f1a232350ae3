/**
 * How many cells real nodes lose under a paced clock, and what a cell costs them: node processes on loopback with constant loops (clock
 * `fixed`), for some holds and rates, on their own or beside busy loops that want the same cores.
 *
 * `node test/bench/paced-nodes.ts [--nodes 8] [--loops 1] [--rate 512] [--holds 40,60,80] [--load 0,2] [--seconds 30]`. Noise is counted at the origins,
 * over all loops of all nodes; CPU over all processes, for each cell at each of the members it passes (link in, peel, line, link out).
 */
import { spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { getJson } from '../../client/cli/api-client.ts'
import type { NodeStatus } from '../../client/library.ts'
import { apiOf, startTestnet, type Testnet } from '../../client/testnet/index.ts'
import { systemClock } from '../../src/runtime/index.ts'

/** Clock ticks of the kernel's accounting. */
const TICKS_PER_SECOND = 100
const never = new AbortController().signal

function cpuSecondsOf(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]!.split(' ')
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND
}

interface Found {
  readonly noise: number
  readonly cells: number
  readonly cpuSeconds: number
  readonly seconds: number
  readonly members: number
}

async function look(testnet: Testnet) {
  let noise = 0
  let rate = 0
  let members = 0
  let loops = 0
  for (const node of testnet.nodes) {
    const { paced } = await getJson<NodeStatus>(apiOf(node), '/v1/status', never)
    noise += paced!.noiseCells
    rate += paced!.cellsPerSecond
    const list = await getJson<{ loops: readonly { members: number }[] }>(apiOf(node), '/v1/loops', never)
    loops += list.loops.length
    for (const loop of list.loops) members += loop.members
  }
  const cpu = testnet.nodes.reduce((sum, { pid }) => sum + cpuSecondsOf(pid), 0)
  return { noise, rate, cpu, members: members / loops, at: systemClock.monotonicMs() }
}

async function measure(testnet: Testnet, seconds: number, load: number): Promise<Found> {
  const busy = Array.from({ length: load }, () => spawn(process.execPath, ['-e', 'for (;;) Math.sqrt(2)'], { stdio: 'ignore' }))
  try {
    await systemClock.sleep(1_000, { signal: never })
    const before = await look(testnet)
    await systemClock.sleep(seconds * 1_000, { signal: never })
    const after = await look(testnet)
    const passed = (after.at - before.at) / 1_000
    const cells = (passed * (before.rate + after.rate)) / 2
    return {
      noise: after.noise - before.noise,
      cells,
      cpuSeconds: after.cpu - before.cpu,
      seconds: passed,
      members: after.members,
    }
  } finally {
    for (const child of busy) child.kill('SIGKILL')
  }
}

const { values } = parseArgs({
  options: {
    nodes: { type: 'string', default: '8' },
    loops: { type: 'string', default: '1' },
    rate: { type: 'string', default: '512' },
    holds: { type: 'string', default: '40,60,80' },
    load: { type: 'string', default: '0,2' },
    seconds: { type: 'string', default: '30' },
  },
})
const nodes = Number(values.nodes)
for (const hold of values.holds.split(',')) {
  const flags = ['--hold', hold, '--fixed-loops', values.loops, '--fixed-rate', values.rate]
  const testnet = await startTestnet({ nodes, clock: 'fixed', signal: never, flags })
  try {
    // Further loops begin at public times, in the next half minute.
    await systemClock.sleep(values.loops === '1' ? 12_000 : 40_000, { signal: never })
    for (const load of values.load.split(',')) {
      const { noise, cells, cpuSeconds, seconds, members } = await measure(testnet, Number(values.seconds), Number(load))
      const percent = ((100 * noise) / cells).toFixed(3)
      const each = ((cpuSeconds * 1e6) / (cells * (members + 1))).toFixed(1)
      const busy = ((100 * cpuSeconds) / seconds).toFixed(0)
      console.log(
        `${nodes} nodes, ${values.loops} × ${values.rate} cells/s, hold ${hold} ms, ${load} busy loops: ${percent} % noise; nodes ${busy} % CPU, ${each} µs a cell and member`,
      )
    }
  } finally {
    await testnet.close()
  }
}

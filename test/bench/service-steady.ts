/**
 * A live service on a network of six real node processes whose clock is steady, used from another node: when it is up, first byte of 1 KiB on a
 * fresh session and on a ready one, one stream down, for each rate of its two loops. `node test/bench/service-steady.ts [RATE …]`: 128 and 512.
 */
import { startTestnet } from '../../client/testnet/index.ts'
import { down, hostService, startTarget } from './service.ts'

const MiB = 2 ** 20
const rates = process.argv.slice(2).map(Number)
const target = await startTarget()
const testnet = await startTestnet({ nodes: 6, clock: 'steady', signal: new AbortController().signal, logLevel: 'error' })
const median = (values: number[]) => Math.round(values.sort((a, b) => a - b)[Math.floor(values.length / 2)]!)
try {
  const [owner, user] = [testnet.nodes[0]!, testnet.nodes[5]!]
  for (const rate of rates.length > 0 ? rates : [128, 512]) {
    const began = performance.now()
    const address = await hostService(owner, `rate-${rate}`, target.port, { loops: 2, rate })
    const upMs = Math.round(performance.now() - began)
    const fresh: number[] = []
    for (let at = 0; at < 3; at++) fresh.push((await down(user, address, `fresh-${at}`, 1024)).firstByteMs)
    const ready: number[] = []
    for (let at = 0; at < 8; at++) ready.push((await down(user, address, 'fresh-2', 1024)).firstByteMs)
    const { ms } = await down(user, address, 'fresh-2', 2 * MiB)
    const MBps = ((2 * MiB) / 1e3 / ms).toFixed(3)
    console.log(JSON.stringify({ rate, upMs, freshMs: median(fresh), readyMs: median(ready), MBps }))
  }
} finally {
  await testnet.close()
  target.close()
}

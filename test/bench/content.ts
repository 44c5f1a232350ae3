/**
 * What a user gets on a network of eight real node processes: publish and fetch 100 MiB through the API, first byte of 1 KiB cold and warm,
 * memory of idle nodes. CPU is summed over all node processes, from /proc. Used by `run.ts`; alone: `node test/bench/content.ts`.
 */
import { createHash, randomBytes } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { request } from 'node:http'
import { startTestnet, type TestnetNode } from '../../client/testnet/index.ts'

export interface ContentFigures {
  readonly nodes: number
  readonly startMs: number
  readonly idleMiB: number
  readonly publishMBps: number
  readonly publishCpuPerGiB: number
  readonly fetchMBps: number
  readonly fetchCpuPerGiB: number
  readonly publishAndFetchMBps: number
  readonly firstByteColdMs: number
  readonly firstByteWarmMs: number
}

interface Answer {
  readonly body: Buffer
  readonly firstByteMs: number
  readonly totalMs: number
}

function call(node: TestnetNode, method: string, path: string, body?: Buffer): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const beganMs = performance.now()
    const headers = { authorization: `Bearer ${node.token}`, 'content-type': 'application/octet-stream' }
    const sent = request(`${node.api}${path}`, { method, headers }, (response) => {
      const parts: Buffer[] = []
      let firstByteMs = 0
      response.on('data', (part: Buffer) => {
        if (parts.length === 0) firstByteMs = performance.now() - beganMs
        parts.push(part)
      })
      response.on('error', reject)
      response.on('end', () => {
        const whole = Buffer.concat(parts)
        if ((response.statusCode ?? 500) >= 300)
          reject(new Error(`${method} ${path}: ${response.statusCode} ${whole.toString('utf8')}`))
        else resolve({ body: whole, firstByteMs, totalMs: performance.now() - beganMs })
      })
    })
    sent.on('error', reject)
    sent.end(body)
  })
}

/** CPU seconds of the processes so far. Clock ticks are hundredths on Linux. */
async function cpuSeconds(nodes: readonly TestnetNode[]): Promise<number> {
  let ticks = 0
  for (const { pid } of nodes) {
    const stat = await readFile(`/proc/${pid}/stat`, 'utf8')
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    ticks += Number(fields[11]) + Number(fields[12])
  }
  return ticks / 100
}

async function residentMiB({ pid }: TestnetNode): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8')
  return Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]) / 1024
}

const median = (values: number[]) => values.sort((a, b) => a - b)[Math.floor(values.length / 2)]!

export async function measureContent(bytes = 100 * 2 ** 20): Promise<ContentFigures> {
  const beganMs = performance.now()
  const testnet = await startTestnet({ nodes: 8, clock: 'swift', signal: new AbortController().signal, logLevel: 'error' })
  try {
    const startMs = performance.now() - beganMs
    const { nodes } = testnet
    const [publisher, reader] = [nodes[0]!, nodes[7]!]
    await new Promise((resolve) => setTimeout(resolve, 3_000))
    const idle = await Promise.all(nodes.map(residentMiB))

    const small: number[] = []
    const warm: number[] = []
    for (let round = 0; round < 25; round++) {
      const published = await call(publisher, 'POST', '/v1/publish', randomBytes(1024))
      const { address } = JSON.parse(published.body.toString('utf8')) as { address: string }
      small.push((await call(reader, 'GET', `/v1/fetch/${address}`)).firstByteMs)
      warm.push((await call(reader, 'GET', `/v1/fetch/${address}`)).firstByteMs)
    }

    const content = randomBytes(bytes)
    const before = await cpuSeconds(nodes)
    const published = await call(publisher, 'POST', '/v1/publish', content)
    const between = await cpuSeconds(nodes)
    const { address } = JSON.parse(published.body.toString('utf8')) as { address: string }
    const fetched = await call(reader, 'GET', `/v1/fetch/${address}`)
    const after = await cpuSeconds(nodes)
    const hash = (part: Buffer) => createHash('sha256').update(part).digest('hex')
    if (hash(fetched.body) !== hash(content)) throw new Error('what was fetched is not what was published')
    const gib = bytes / 2 ** 30
    const rate = (ms: number) => bytes / 1e3 / ms
    return {
      nodes: nodes.length,
      startMs,
      idleMiB: median(idle),
      publishMBps: rate(published.totalMs),
      publishCpuPerGiB: (between - before) / gib,
      fetchMBps: rate(fetched.totalMs),
      fetchCpuPerGiB: (after - between) / gib,
      publishAndFetchMBps: rate(published.totalMs + fetched.totalMs),
      firstByteColdMs: median(small),
      firstByteWarmMs: median(warm),
    }
  } finally {
    await testnet.close()
  }
}

if (import.meta.main) console.log(await measureContent())

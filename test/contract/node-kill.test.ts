/**
 * kill -9 of a whole node at random times: while it starts, while it writes down what its user wants, while it stops. A real process over one data
 * folder, round after round. Afterwards it starts, is who it was, and everything that its API acknowledged is there: names, tokens, services and
 * their keys.
 */
import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { getJson } from '../../client/cli/api-client.ts'
import type { NameEntry, NodeStatus, ServiceStatus } from '../../client/library.ts'
import { isOverlayError } from '../../src/errors/index.ts'
import { systemClock } from '../../src/runtime/index.ts'
import { addressOf } from '../support/backup-files.ts'
import { LoneNode } from '../support/lone-node.ts'
import { seededRng } from '../support/seeded-rng.ts'

const ROUNDS = 8
const SEED = 44
const { signal } = new AbortController()
const root = mkdtempSync(join(tmpdir(), 'gyre-node-kill-'))
const dataDir = join(root, 'data')
const codeDir = join(root, 'code')
mkdirSync(codeDir)
const running = new Set<LoneNode>()
after(async () => {
  for (const node of running) await node.child.kill()
  rmSync(root, { recursive: true, force: true, maxRetries: 5 })
})

/** What was acknowledged; of what was being changed when the node died, what it may be besides. */
class Acknowledged {
  readonly names = new Map<string, string | null>()
  readonly tokens = new Map<string, string | null>()
  readonly services = new Map<string, string | null>()
  readonly unsure = new Set<string>()
  count = 0

  /** Makes one change; notes it if it was acknowledged. `false`: the node is gone. */
  async change(kind: 'names' | 'tokens' | 'services', name: string, run: () => Promise<string | null>): Promise<boolean> {
    this.unsure.add(`${kind} ${name}`)
    try {
      this[kind].set(name, await run())
    } catch (error) {
      if (isOverlayError(error, 'NODE_UNREACHABLE')) return false
      // Refused in words: full, or too many requests. Nothing was changed.
      this.unsure.delete(`${kind} ${name}`)
      assert.ok(
        isOverlayError(error, 'API_RATE') || isOverlayError(error, 'API_TOKEN_LIMIT') || isOverlayError(error, 'SERVICE_LIMIT'),
        String(error),
      )
      await systemClock.sleep(20, { signal })
      return true
    }
    this.unsure.delete(`${kind} ${name}`)
    this.count++
    return true
  }
}

/** Changes one thing after the other until the node is gone. */
async function load(node: LoneNode, acknowledged: Acknowledged, worker: string, seed: string): Promise<void> {
  const rng = seededRng(seed)
  for (let number = 0; ; number++) {
    const name = `${worker}-${rng.below(12)}`
    let alive: boolean
    switch (rng.below(6)) {
      case 0:
      case 1:
      case 2: {
        const address = addressOf(1 + rng.below(200))
        alive = await acknowledged.change('names', name, async () => {
          await node.send('PUT', `/v1/names/${name}`, { address }, signal)
          return address
        })
        break
      }
      case 3:
        if (acknowledged.names.get(name) === undefined || acknowledged.names.get(name) === null) continue
        alive = await acknowledged.change('names', name, async () => {
          await node.send('DELETE', `/v1/names/${name}`, undefined, signal)
          return null
        })
        break
      case 4: {
        const made = `${name}-${seed.replaceAll(/[^0-9]/g, '')}-${number}`.slice(0, 32)
        if (acknowledged.tokens.size > 40) continue
        alive = await acknowledged.change('tokens', made, async () => {
          const { token } = await node.send<{ token: string }>('POST', '/v1/tokens', { name: made, scope: 'read' }, signal)
          return token
        })
        break
      }
      default: {
        if (rng.below(3) > 0) continue
        const service = `${worker}-s${rng.below(4)}`
        const isThere = typeof acknowledged.services.get(service) === 'string'
        alive = await acknowledged.change('services', service, async () => {
          if (isThere) {
            await node.send('DELETE', `/v1/services/${service}`, undefined, signal)
            return null
          }
          const wish = { name: service, target: '127.0.0.1:9' }
          return (await node.send<{ address: string }>('POST', '/v1/services', wish, signal)).address
        })
      }
    }
    if (!alive) return
  }
}

async function check(node: LoneNode, acknowledged: Acknowledged, id: string): Promise<void> {
  assert.equal((await node.get<NodeStatus>('/v1/status', signal)).id, id)
  const { names } = await node.get<{ names: NameEntry[] }>('/v1/names', signal)
  for (const [name, address] of acknowledged.names) {
    if (acknowledged.unsure.has(`names ${name}`)) continue
    assert.equal(names.find((entry) => entry.name === name)?.address ?? null, address, `seed ${SEED}: name ${name}`)
  }
  const { services } = await node.get<{ services: ServiceStatus[] }>('/v1/services', signal)
  for (const [name, address] of acknowledged.services) {
    if (acknowledged.unsure.has(`services ${name}`)) continue
    assert.equal(services.find((one) => one.name === name)?.address ?? null, address, `seed ${SEED}: service ${name}`)
  }
  for (const [name, token] of acknowledged.tokens) {
    if (token === null || acknowledged.unsure.has(`tokens ${name}`)) continue
    await getJson(node.at(token), '/v1/health', signal).catch((error: unknown) =>
      assert.ok(!isOverlayError(error, 'API_UNAUTHORISED'), `seed ${SEED}: token ${name} does not work`),
    )
  }
}

test('a node that is killed at any time starts again, is who it was, and has all that it acknowledged', {
  timeout: 600_000,
}, async (t) => {
  const rng = seededRng(SEED)
  const acknowledged = new Acknowledged()
  const first = await LoneNode.start({ dataDir, codeDir })
  running.add(first)
  const startMs = 1_500
  const { id } = await first.get<NodeStatus>('/v1/status', signal)
  let node = first
  for (let round = 0; round < ROUNDS; round++) {
    const work = ['a', 'b', 'c'].map((worker) => load(node, acknowledged, worker, `${SEED} ${round} ${worker}`))
    await systemClock.sleep(150 + rng.below(1_500), { signal })
    // Every other time in the middle of its own stop.
    if (round % 2 === 1) {
      process.kill(node.child.pid, 'SIGTERM')
      await systemClock.sleep(rng.below(120), { signal })
    }
    await node.child.kill()
    running.delete(node)
    await Promise.all(work)
    // And once more at a random time of the start that follows.
    const starting = LoneNode.spawn({ dataDir, codeDir })
    running.add(starting)
    await systemClock.sleep(rng.below(startMs), { signal })
    await starting.child.kill()
    running.delete(starting)
    node = await LoneNode.start({ dataDir, codeDir })
    running.add(node)
    await check(node, acknowledged, id)
    // What was being changed is one or the other by now.
    for (const what of acknowledged.unsure) {
      const [kind, name] = what.split(' ') as ['names' | 'tokens' | 'services', string]
      acknowledged[kind].delete(name)
    }
    acknowledged.unsure.clear()
  }
  assert.deepEqual(
    node.lines.filter((line) => /damaged/.test(line)),
    [],
  )
  await node.child.stop()
  running.delete(node)
  t.diagnostic(`${acknowledged.count} changes acknowledged, ${2 * ROUNDS} kills`)
  assert.ok(acknowledged.count > 100, `only ${acknowledged.count} changes were acknowledged`)
})

/**
 * Stands for `client/cli/main.ts start` in tests of the test network and its faces: the same start, stop and faces around a fake node.
 * Nodes of one network share a folder as their "network", beside their data folders; node 0's folder is there first.
 */
import { readdirSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { exitCodeOf, printFailure } from '../../client/cli/output.ts'
import { runNode } from '../../client/cli/start.ts'
import type { NodeId } from '../../src/bytes/index.ts'
import { toHex, utf8 } from '../../src/bytes/index.ts'
import { loadConfig } from '../../src/config/index.ts'
import { sha256 } from '../../src/crypto/hash.ts'
import { createLog } from '../../src/log/index.ts'
import { FakeFace, folderShelf } from './fake-face.ts'

const flags: Record<string, string | string[]> = {}
const args = process.argv.slice(2)
for (let at = 0; at < args.length; at++) {
  const name = /^--(.+)$/.exec(args[at] ?? '')?.[1]
  if (name === undefined || name === 'supervised') continue
  const value = args[++at] ?? ''
  flags[name] = name === 'bootstrap' || name === 'listen' ? [value] : value
}
const config = loadConfig({ flags, env: {} })
const root = dirname(config.dataDir)
const id = toHex(sha256(utf8(config.dataDir))) as NodeId
const known = () => readdirSync(root).filter((name) => name.startsWith('node-')).length
const startFake = async () => ({
  face: new FakeFace(folderShelf(join(root, 'shelf')), id, known),
  addresses: [`/ip4/127.0.0.1/tcp/9/p2p/${'Q'.repeat(46)}`],
  close: async () => {},
})
try {
  process.exit(await runNode(config, createLog(config.logLevel), startFake, args.includes('--supervised')))
} catch (error) {
  printFailure(error, false)
  process.exit(exitCodeOf(error))
}

/** Data folders with something to back up, and a key derivation that tests can afford. */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import type { Secrets } from '../../client/backup/index.ts'
import { openIdentity } from '../../client/identity.ts'
import { openKeepBook } from '../../client/keeps/index.ts'
import { openKeyBook } from '../../client/keys/index.ts'
import { openNameBook } from '../../client/names/index.ts'
import { concat, toHex, utf8 } from '../../src/bytes/index.ts'
import { formatKeyAddress } from '../../src/content/address.ts'
import { sha256, signingKey } from '../../src/crypto/index.ts'
import { FakeClock } from './fake-clock.ts'
import { seededRng } from './seeded-rng.ts'

/** Stands for Argon2id where a test makes many backups. The real one: backup.json, and the command's test. */
export const quick = async (passphrase: Uint8Array, salt: Uint8Array): Promise<Uint8Array> =>
  sha256(utf8('quick'), salt, passphrase)

export function secretsOf(passphrase: string): Secrets {
  return { passphrase: utf8(passphrase), derive: quick }
}

export function temporaryFolder(t: TestContext, parent: string = tmpdir()): string {
  const dir = mkdtempSync(join(parent, 'gyre-backup-'))
  t.after(() => rmSync(dir, { recursive: true, force: true }))
  return dir
}

/** The address of the key whose seed is all `byte`. */
export function addressOf(byte: number): string {
  return formatKeyAddress(signingKey(new Uint8Array(32).fill(byte)).publicKey)
}

/** Fills `dir` as a node does: an identity, two keys with parts, names, and what does not belong in a backup. */
export async function furnish(dir: string, seed: number): Promise<void> {
  const rng = seededRng(seed)
  await openIdentity(dir, rng)
  const book = await openKeyBook(dir, rng)
  for (const name of ['blog', 'shop-2']) await book.make(name)
  await book.writePart('blog', 'site', concat(rng.bytes(100_000), new Uint8Array(50_000)))
  await book.writePart('blog', 'record', rng.bytes(60))
  await book.writePart('shop-2', 'service', utf8('{"version":1}'))
  const names = await openNameBook({ dataDir: dir, clock: new FakeClock(), log: { warn: () => {} } })
  await names.put('friend', addressOf(seed), 'letter')
  await names.put(`only-${seed}`, addressOf(9))
  const keeps = await openKeepBook({ dataDir: dir, log: { warn: () => {} } })
  const keep = { source: 'own', addedMs: 5, checkedMs: 0, passes: 0, snapshot: '' } as const
  await keeps.add({ ...keep, address: addressOf(40) })
  await keeps.add({ ...keep, address: addressOf(40 + seed), source: 'user' })
}

/** All files below `dir`: name to content, long ones as their hash. */
export function filesIn(dir: string): Map<string, string> {
  const names = readdirSync(dir, { recursive: true, withFileTypes: true })
  const files = names.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name))
  const shown = (bytes: Buffer) => (bytes.length <= 2000 ? bytes.toString('latin1') : `hash ${toHex(sha256(bytes))}`)
  return new Map(files.sort().map((path) => [path.slice(dir.length + 1), shown(readFileSync(path))]))
}

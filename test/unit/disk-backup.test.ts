/**
 * Export and import on a disk that fails at each call in turn: a backup is there whole or not at all, an import counts whole or not at all, whatever
 * is killed when, and what was in the folder is never lost to it.
 */
import assert from 'node:assert/strict'
import { cpSync, existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { exportBackup, finishRestore, importBackup, readBackup } from '../../client/backup/index.ts'
import { openIdentity } from '../../client/identity.ts'
import { openKeyBook } from '../../client/keys/index.ts'
import { filesIn, furnish, secretsOf } from '../support/backup-files.ts'
import { atEveryCall } from '../support/every-call.ts'
import { seededRng } from '../support/seeded-rng.ts'

const secrets = secretsOf('twelve characters')
const root = mkdtempSync(join(tmpdir(), 'gyre-disk-backup-'))
after(() => rmSync(root, { recursive: true, force: true }))
const [mine, other] = ['mine', 'other'].map((name) => join(root, name)) as [string, string]
for (const [at, dir] of [mine, other].entries()) {
  mkdirSync(dir)
  await furnish(dir, at + 1)
}
const backup = join(root, 'backup')
await exportBackup(other, backup, secrets, { leaveOutDamaged: false, rng: seededRng(1) })

/** What a node would take from a folder: everything but what is being prepared, after it has ended what was broken off. */
async function stateOf(dir: string): Promise<Map<string, string>> {
  await finishRestore(dir)
  const files = filesIn(dir)
  assert.ok(![...files.keys()].some((name) => name.startsWith('restore')))
  return new Map([...files].filter(([name]) => !name.endsWith('.new')))
}

test('an import into a folder with another identity counts whole or not at all', async (t) => {
  const before = new Map(filesIn(mine))
  const into = join(root, 'whole')
  cpSync(mine, into, { recursive: true })
  await importBackup(into, backup, secrets, true)
  const whole = filesIn(into)
  assert.notDeepEqual(whole, before)
  let all = 0
  let none = 0
  await atEveryCall<string>(t, {
    survivesPowerCut: true,
    prepare: async (dir) => cpSync(mine, dir, { recursive: true }),
    async run(dir, told) {
      await told.step('begun', () => finishRestore(dir))
      await told.step('imported', () => importBackup(dir, backup, secrets, true))
    },
    async check(dir, told) {
      const now = await stateOf(dir)
      const isWhole = [...whole].every(([name, text]) => now.get(name) === text) && now.size === whole.size
      if (isWhole) all++
      else none++
      if (told.includes('imported')) assert.ok(isWhole, 'what was imported is not there')
      else if (!isWhole) assert.deepEqual(now, before, 'a mixture')
      await openIdentity(dir, seededRng(3))
      assert.deepEqual((await openKeyBook(dir, seededRng(3))).damaged(), [])
    },
  })
  assert.ok(all > 20 && none > 20, `${all} whole, ${none} not at all`)
})

test('an export is there whole, or not at all', async (t) => {
  const entries = async (path: string) => {
    const names: string[] = []
    for await (const { name } of readBackup(path, secrets)) names.push(name)
    return names
  }
  const expected = await entries(backup)
  await atEveryCall<string>(t, {
    survivesPowerCut: true,
    prepare: async (dir) => cpSync(other, dir, { recursive: true }),
    async run(dir, told) {
      const rng = seededRng(2)
      await told.step('exported', () => exportBackup(dir, join(dir, 'backup'), secrets, { leaveOutDamaged: false, rng }))
    },
    async check(dir, told) {
      const path = join(dir, 'backup')
      if (told.length > 0 || existsSync(path)) assert.deepEqual(await entries(path), expected)
      // And the next one succeeds.
      rmSync(path, { force: true })
      await exportBackup(dir, path, secrets, { leaveOutDamaged: false, rng: seededRng(3) })
    },
  })
})

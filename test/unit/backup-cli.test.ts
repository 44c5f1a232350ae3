/** `gyre keys export` and `import` as commands, and how a passphrase is asked for. */
import assert from 'node:assert/strict'
import { EventEmitter } from 'node:events'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { Interrupted, UsageError } from '../../client/cli/output.ts'
import { readPassphrase, type Terminal } from '../../client/cli/passphrase.ts'
import { holdDataDir } from '../../client/identity.ts'
import { utf8 } from '../../src/bytes/index.ts'
import { isOverlayError } from '../../src/errors/index.ts'
import { systemClock, systemRng } from '../../src/runtime/index.ts'
import { filesIn, furnish, temporaryFolder } from '../support/backup-files.ts'
import { gyre } from '../support/processes.ts'

/** A terminal on which `typed` is typed, a piece each time that something is asked. */
function terminalOf(...typed: readonly string[]): {
  readonly terminal: Terminal
  readonly shown: () => string
  readonly raw: boolean[]
} {
  let shown = ''
  let piece = 0
  const raw: boolean[] = []
  const input = Object.assign(new EventEmitter(), {
    isTTY: true,
    setRawMode: (on: boolean) => void raw.push(on),
    setEncoding: () => input,
    pause: () => input,
    resume: () => {
      const text = typed[piece++]
      queueMicrotask(() => {
        if (text !== undefined) input.emit('data', text)
        input.emit('end')
      })
    },
  })
  const output = {
    write: (text: string) => {
      shown += text
    },
  }
  return { terminal: { input, output } as unknown as Terminal, shown: () => shown, raw }
}

const ask = (fresh: boolean, ...typed: readonly string[]) =>
  readPassphrase(undefined, { fresh, terminal: terminalOf(...typed).terminal })

test('a passphrase is asked for without showing it, a new one twice', async () => {
  const { terminal, shown, raw } = terminalOf('twelve characterz\x7fs\r', 'twelve characters\r')
  assert.deepEqual(await readPassphrase(undefined, { fresh: true, terminal }), utf8('twelve characters'))
  assert.equal(shown(), 'Passphrase: \nThe same again: \n')
  assert.deepEqual(raw, [true, false, true, false])
  assert.deepEqual(await ask(false, 'x\n'), utf8('x'))
  assert.deepEqual(await ask(false, 'wrong\x15right\n'), utf8('right'))
  assert.deepEqual(await ask(false, 'ä\u{1f600}\x7f\x7fo\x01k\r'), utf8('ok'))
})

test('what is no passphrase is refused, and the terminal is as it was', async () => {
  for (const typed of [['short\r', 'short\r'], ['twelve characters\r', 'twelve character\r'], ['\r'], ['half'], []]) {
    await assert.rejects(ask(true, ...typed), UsageError, JSON.stringify(typed))
  }
  const { terminal, raw } = terminalOf('half\x03')
  await assert.rejects(readPassphrase(undefined, { fresh: false, terminal }), Interrupted)
  assert.deepEqual(raw, [true, false])
  await assert.rejects(ask(false, '\x04'), UsageError)
  const none = { input: { isTTY: undefined }, output: {} } as unknown as Terminal
  await assert.rejects(readPassphrase(undefined, { fresh: false, terminal: none }), UsageError)
})

test('a passphrase file: its first line, in UTF-8, bounded', async (t) => {
  const path = join(temporaryFolder(t), 'passphrase')
  const read = async (content: string | Uint8Array) => {
    writeFileSync(path, content)
    return readPassphrase(path, { fresh: true, terminal: terminalOf().terminal })
  }
  for (const content of ['twelve characters', 'twelve characters\n', 'twelve characters\r\nmore'])
    assert.deepEqual(await read(content), utf8('twelve characters'))
  assert.equal((await read('x'.repeat(1024))).length, 1024)
  for (const content of ['', '\n', 'eleven char', 'x'.repeat(1025), Uint8Array.from({ length: 20 }, () => 0xff)])
    await assert.rejects(read(content), UsageError)
  await assert.rejects(readPassphrase(join(path, 'x'), { fresh: true, terminal: terminalOf().terminal }), (error) =>
    isOverlayError(error, 'FILE_FAILED'),
  )
})

interface Commands {
  readonly dir: string
  readonly file: string
  run(command: 'export' | 'import', dataDir: string, ...args: readonly string[]): ReturnType<typeof gyre>
}

async function commands(t: TestContext): Promise<Commands> {
  const root = temporaryFolder(t)
  const dir = join(root, 'from')
  mkdirSync(dir)
  await furnish(dir, 1)
  const file = join(root, 'backup')
  const passphrase = join(root, 'passphrase')
  writeFileSync(passphrase, 'correct horse battery staple\n')
  return {
    dir,
    file,
    run: (command, dataDir, ...args) =>
      gyre(['keys', command, file, '--data-dir', dataDir, '--passphrase-file', passphrase, ...args]),
  }
}

test('export and import by command, with the real key derivation', { timeout: 120_000 }, async (t) => {
  const { dir, file, run } = await commands(t)
  const before = filesIn(dir)
  const exported = await run('export', dir, '--json')
  assert.equal(exported.code, 0, exported.stderr)
  const { bytes, keys, names, damaged } = JSON.parse(exported.stdout.toString())
  assert.deepEqual([keys, names, damaged], [['blog', 'shop-2'], 2, []])
  assert.ok(bytes > 65_536)
  assert.deepEqual(filesIn(dir), before)

  const into = join(dir, '..', 'into')
  const imported = await run('import', into)
  assert.equal(imported.code, 0, imported.stderr)
  assert.match(imported.stdout.toString(), /identity +imported\nkey blog +imported\nkey shop-2 +imported\nnames +2 new/)
  assert.deepEqual(filesIn(into), before)

  // There already; a second backup in its place; a file that is none; without a terminal; no folder.
  assert.equal((await run('export', dir)).code, 2)
  writeFileSync(file, 'none')
  const none = await run('import', into)
  assert.equal(none.code, 5)
  assert.match(none.stderr, /length that none has/)
  const silent = await gyre(['keys', 'export', `${file}2`, '--data-dir', dir])
  assert.equal(silent.code, 2)
  assert.match(silent.stderr, /--passphrase-file/)
  const nowhere = await run('export', join(dir, 'nowhere'), '--json')
  assert.equal(JSON.parse(nowhere.stderr).error.code, 'DATA_DIR_UNUSABLE')
  assert.ok(!existsSync(join(dir, 'nowhere')))
})

test('the folder of a node that runs is left alone', { timeout: 60_000 }, async (t) => {
  const { dir, file, run } = await commands(t)
  const held = await holdDataDir(dir, { clock: systemClock, rng: systemRng, signal: new AbortController().signal })
  for (const command of ['export', 'import'] as const) {
    const { code, stderr } = await run(command, dir, '--json')
    assert.equal(code, 2)
    assert.equal(JSON.parse(stderr).error.code, 'DATA_DIR_LOCKED')
  }
  await held.release()
  assert.ok(!existsSync(file))
})

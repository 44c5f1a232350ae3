/**
 * `gyre keys export` and `gyre keys import`: a backup of what makes this node itself. Both work on the data folder of a node that does not run:
 * a copy that is made while it changes could hold an older sequence than the network has seen, and two nodes with one identity undo each other.
 */
import { stat } from 'node:fs/promises'
import { loadConfig } from '../../src/config/index.ts'
import { whyDisk } from '../../src/errors/disk.ts'
import { OverlayError } from '../../src/errors/index.ts'
import { systemClock, systemRng } from '../../src/runtime/index.ts'
import { exportBackup, finishRestore, importBackup, type Outcome } from '../backup/index.ts'
import { type HeldDataDir, holdDataDir } from '../data-dir.ts'
import { stayAlive } from './alive.ts'
import { present } from './api-client.ts'
import { formatBytes, print, table } from './output.ts'
import { readPassphrase } from './passphrase.ts'

export interface BackupFlags {
  readonly dataDir?: string | undefined
  readonly config?: string | undefined
  readonly json?: boolean | undefined
  readonly passphraseFile?: string | undefined
  readonly replace?: boolean | undefined
  readonly leaveOutDamaged?: boolean | undefined
}

/** Errors: those of `exportBackup`, `DATA_DIR_LOCKED`. */
export async function exportKeys(file: string, flags: BackupFlags, signal: AbortSignal): Promise<void> {
  const dataDir = dataDirOf(flags)
  await requireFolder(dataDir)
  await held(dataDir, signal, 'read', async () => {
    const passphrase = await readPassphrase(flags.passphraseFile, { fresh: true, terminal })
    const leaveOutDamaged = flags.leaveOutDamaged === true
    const { bytes, keys, names, keeps, damaged } = await exportBackup(
      dataDir,
      file,
      { passphrase },
      { leaveOutDamaged, rng: systemRng },
    )
    passphrase.fill(0)
    if (flags.json === true) return print(`${JSON.stringify({ file, bytes, keys, names, keeps, damaged })}\n`)
    const rows = [
      ['backup', `${file}, ${formatBytes(bytes)}, read back and verified`],
      ['identity', 'of this node'],
      ['keys', keys.length === 0 ? 'none' : keys.join(', ')],
      ['names', String(names)],
      ['kept', String(keeps)],
    ]
    await print(table(rows))
    if (damaged.length > 0) process.stderr.write(`gyre: left out because they are damaged: ${damaged.join(', ')}\n`)
    process.stderr.write(
      'Whoever has this file and its passphrase is this node. Without the passphrase nobody can open it, nor can you.\n',
    )
  })
}

/** Errors: those of `importBackup`, `DATA_DIR_LOCKED`. */
export async function importKeys(file: string, flags: BackupFlags, signal: AbortSignal): Promise<void> {
  const dataDir = dataDirOf(flags)
  await held(dataDir, signal, 'write', async () => {
    const passphrase = await readPassphrase(flags.passphraseFile, { fresh: false, terminal })
    const { identity, keys, names, keeps } = await importBackup(dataDir, file, { passphrase }, flags.replace === true)
    passphrase.fill(0)
    if (flags.json === true) return print(`${JSON.stringify({ dataDir, identity, keys, names, keeps })}\n`)
    const rows = [
      ['identity', TOLD[identity]],
      ...keys.map(({ name, outcome }) => [`key ${name}`, TOLD[outcome]]),
      ['names', `${names.added} new, ${names.replaced} replaced, ${names.kept} left as they were`],
      ['kept', `${keeps} new`],
    ]
    await print(table(rows))
    process.stderr.write('Start the node with `gyre start`. Never run two nodes with one identity: they would undo each other.\n')
  })
}

const TOLD: Readonly<Record<Outcome, string>> = {
  new: 'imported',
  same: 'was here already',
  replaced: 'imported in the place of another',
}

const terminal = { input: process.stdin, output: process.stderr }

function dataDirOf({ dataDir, config }: BackupFlags): string {
  return loadConfig({ flags: present({ 'data-dir': dataDir, config }), env: process.env }).dataDir
}

async function requireFolder(path: string): Promise<void> {
  try {
    if ((await stat(path)).isDirectory()) return
  } catch (error) {
    throw new OverlayError('config', 'DATA_DIR_UNUSABLE', `The data folder ${path} cannot be used: ${whyDisk(error)}.`, error)
  }
  throw new OverlayError('config', 'DATA_DIR_UNUSABLE', `The data folder ${path} is no folder.`)
}

/** Runs `work` while the folder is held, an import that was broken off before being ended first. */
async function held(dataDir: string, signal: AbortSignal, purpose: 'read' | 'write', work: () => Promise<void>): Promise<void> {
  const release = stayAlive()
  let folder: HeldDataDir | null = null
  try {
    folder = await holdDataDir(dataDir, { clock: systemClock, rng: systemRng, signal, purpose })
    if (folder.writable) await finishRestore(dataDir)
    await work()
  } finally {
    await folder?.release()
    release()
  }
}

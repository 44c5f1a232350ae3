/**
 * The directory on disk, so that a node that starts again knows whom to dial. One descriptor a line (base64 of the `SignedDescriptor`),
 * behind a first line that names the format. What is read is judged exactly as if a stranger had sent it: a damaged, expired or foreign
 * line is skipped and costs itself only. Spec: SPEC.md §6.2.
 */
import { type FileHandle, open } from 'node:fs/promises'
import { type Clock, laterTurn } from '../runtime/index.ts'
import { SIGNED_DESCRIPTOR_BYTES_MAX } from '../wire/index.ts'
import { writeAtomically } from './atomic-file.ts'
import type { Directory } from './directory.ts'

const FIRST_LINE = 'gyre directory 1'
const LINE_CHARACTERS_MAX = Math.ceil(SIGNED_DESCRIPTOR_BYTES_MAX / 3) * 4
/** Lines judged in one turn: some 5 ms of signatures. */
const LINES_PER_TURN = 32
/** Lines written in one call. */
const LINES_PER_WRITE = 64

/** Writes all descriptors to `path`, whole or not at all. */
export async function saveDirectory(directory: Directory, path: string): Promise<void> {
  await writeAtomically(path, linesOf(directory))
}

function* linesOf(directory: Directory): Generator<string, void, undefined> {
  let lines = `${FIRST_LINE}\n`
  let count = 0
  for (const signed of [...directory.signed()]) {
    lines += `${Buffer.from(signed).toString('base64')}\n`
    if (++count % LINES_PER_WRITE !== 0) continue
    yield lines
    lines = ''
  }
  yield lines
}

/** What `loadDirectory` found. */
export interface LoadedDirectory {
  readonly added: number
  /** Lines that were damaged, expired, foreign or too many. */
  readonly skipped: number
}

/** Adds what `path` holds to `directory`. No file, or one of another format: nothing. */
export async function loadDirectory(
  directory: Directory,
  path: string,
  clock: Pick<Clock, 'nextTurn'>,
): Promise<LoadedDirectory> {
  let file: FileHandle
  try {
    file = await open(path, 'r')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return { added: 0, skipped: 0 }
    throw error
  }
  let added = 0
  let skipped = 0
  let first = true
  try {
    for await (const line of file.readLines({ encoding: 'latin1' })) {
      if (first) {
        first = false
        if (line !== FIRST_LINE) break
        continue
      }
      if (line.length > LINE_CHARACTERS_MAX || directory.add(new Uint8Array(Buffer.from(line, 'base64'))) !== 'added') skipped++
      else added++
      if ((added + skipped) % LINES_PER_TURN === 0) await laterTurn(clock)
    }
  } finally {
    await file.close()
  }
  return { added, skipped }
}

/**
 * Asks for a passphrase on the terminal, without showing it, or reads it from a file. It is never an argument or a variable: both can be read by
 * other programs of the machine.
 */
import { open } from 'node:fs/promises'
import { whyDisk } from '../../src/errors/disk.ts'
import { OverlayError } from '../../src/errors/index.ts'
import { passphraseBytes } from '../backup/index.ts'
import { Interrupted, UsageError } from './output.ts'

/** Characters of a new passphrase at least: fewer can be guessed, whatever each guess costs. */
export const PASSPHRASE_CHARS_MIN = 12
const PASSPHRASE_BYTES_MAX = 1024

/** The terminal, as far as it is needed. */
export interface Terminal {
  readonly input: NodeJS.ReadStream
  readonly output: NodeJS.WriteStream
}

/**
 * The passphrase from `file` (its first line), or asked for on the terminal; a `fresh` one is asked for twice, and must not be short. Errors: `FILE_FAILED`,
 * a `UsageError` without a terminal or for a passphrase that does not do.
 */
export async function readPassphrase(
  file: string | undefined,
  { fresh, terminal }: { readonly fresh: boolean; readonly terminal: Terminal },
): Promise<Uint8Array> {
  const text = file === undefined ? await asked(terminal, fresh) : await firstLine(file)
  if (text.length === 0) throw new UsageError('The passphrase is empty.', 'Give one.')
  if (fresh && [...text].length < PASSPHRASE_CHARS_MIN) {
    throw new UsageError(
      `The passphrase is shorter than ${PASSPHRASE_CHARS_MIN} characters.`,
      'Take a longer one: five words that have nothing to do with each other are good.',
    )
  }
  return passphraseBytes(text)
}

async function firstLine(path: string): Promise<string> {
  const bytes = new Uint8Array(PASSPHRASE_BYTES_MAX + 2)
  let length = 0
  try {
    const file = await open(path, 'r')
    try {
      for (let read = 1; read > 0 && length < bytes.length; length += read) {
        read = (await file.read(bytes, length, bytes.length - length)).bytesRead
      }
    } finally {
      await file.close()
    }
  } catch (error) {
    throw new OverlayError('config', 'FILE_FAILED', `The passphrase file ${path} cannot be read: ${whyDisk(error)}.`, error)
  }
  try {
    const [line = ''] = new TextDecoder('utf-8', { fatal: true }).decode(bytes.subarray(0, length)).split(/\r?\n/)
    if (Buffer.byteLength(line) <= PASSPHRASE_BYTES_MAX) return line
  } catch {
    // Told below: what cannot be a passphrase cannot be one in UTF-8 either.
  } finally {
    bytes.fill(0)
  }
  throw new UsageError(
    `The first line of ${path} is no passphrase: UTF-8, up to ${PASSPHRASE_BYTES_MAX} bytes.`,
    'Give another file.',
  )
}

async function asked(terminal: Terminal, fresh: boolean): Promise<string> {
  if (!terminal.input.isTTY) {
    throw new UsageError(
      'There is no terminal to ask for the passphrase on.',
      'Give --passphrase-file FILE: its first line is taken.',
    )
  }
  const first = await askedOnce(terminal, 'Passphrase: ')
  if (fresh && (await askedOnce(terminal, 'The same again: ')) !== first) {
    throw new UsageError('The two passphrases differ.', 'Try again.')
  }
  return first
}

/** One line of the terminal in raw mode: what is typed is not echoed. */
async function askedOnce({ input, output }: Terminal, prompt: string): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>()
  let text = ''
  const onText = (typed: string) => {
    for (const char of typed) {
      if (char === '\r' || char === '\n') return resolve(text)
      if (char === '\x03') return reject(new Interrupted('SIGINT'))
      if (char === '\x04') return reject(new UsageError('No passphrase was given.', 'Try again.'))
      if (char === '\x7f' || char === '\b') text = [...text].slice(0, -1).join('')
      else if (char === '\x15') text = ''
      else if (char >= ' ' && Buffer.byteLength(text + char) <= PASSPHRASE_BYTES_MAX) text += char
    }
  }
  const onEnd = () => reject(new UsageError('The terminal was closed.', 'Try again.'))
  output.write(prompt)
  input.setRawMode(true)
  input.setEncoding('utf8').on('data', onText).on('end', onEnd).resume()
  try {
    return await promise
  } finally {
    input.off('data', onText).off('end', onEnd).pause()
    input.setRawMode(false)
    output.write('\n')
  }
}

/**
 * A disk in memory under `node:fs/promises`, for whole networks in one process: the real code of stores and of small state runs on it unchanged, and
 * every call is done within the turn that made it, so that a fake clock never has to wait for a device and the same seed gives the same run.
 *
 * It stands under paths below one folder; all others go to the real disk. Known calls only: another one is an error that names it. Not modelled:
 * faults and power cuts (`faulty-disk.ts` has these), permissions, sizes of the device.
 */
import { constants } from 'node:fs'
import fsp from 'node:fs/promises'
import { syncBuiltinESMExports } from 'node:module'
import { basename, dirname, sep } from 'node:path'

/** Memory is taken in pages of this size: one share. */
const PAGE_BYTES = 65_536
/** What is shorter is one array. */
const SMALL_BYTES = 4096

const METHODS = [
  ...['open', 'readFile', 'writeFile', 'rename', 'rm', 'unlink', 'mkdir', 'readdir', 'stat', 'lstat', 'chmod', 'link'],
  ...['appendFile', 'truncate', 'copyFile', 'rmdir', 'symlink', 'utimes', 'access', 'mkdtemp', 'opendir', 'cp', 'realpath'],
] as const

type Method = (...args: unknown[]) => Promise<unknown>

/** Bytes of one file, in pages; what was never written is zero. */
class MemoryFile {
  size = 0
  readonly #pages = new Map<number, Uint8Array>()

  /** Bytes of memory that its pages take. */
  get held(): number {
    let held = 0
    for (const page of this.#pages.values()) held += page.length
    return held
  }

  read(into: Uint8Array, offset: number, length: number, position: number): number {
    const count = Math.max(0, Math.min(length, this.size - position))
    for (let done = 0; done < count; ) {
      const at = position + done
      const from = at % PAGE_BYTES
      const some = Math.min(count - done, PAGE_BYTES - from)
      const page = this.#pages.get(Math.floor(at / PAGE_BYTES))
      const there = page?.subarray(from, from + some)
      into.fill(0, offset + done + (there?.length ?? 0), offset + done + some)
      if (there !== undefined) into.set(there, offset + done)
      done += some
    }
    return count
  }

  write(bytes: Uint8Array, position: number): void {
    for (let done = 0; done < bytes.length; ) {
      const at = position + done
      const from = at % PAGE_BYTES
      const some = Math.min(bytes.length - done, PAGE_BYTES - from)
      this.#page(Math.floor(at / PAGE_BYTES), from + some).set(bytes.subarray(done, done + some), from)
      done += some
    }
    this.size = Math.max(this.size, position + bytes.length)
  }

  /** The page with this number, at least `length` bytes of it. */
  #page(number: number, length: number): Uint8Array {
    const page = this.#pages.get(number)
    if (page !== undefined && page.length >= length) return page
    const longer = new Uint8Array(length <= SMALL_BYTES ? SMALL_BYTES : PAGE_BYTES)
    if (page !== undefined) longer.set(page)
    this.#pages.set(number, longer)
    return longer
  }

  truncate(size: number): void {
    this.size = size
    const last = Math.floor(size / PAGE_BYTES)
    for (const number of this.#pages.keys()) if (number > last) this.#pages.delete(number)
    this.#pages.get(last)?.fill(0, size % PAGE_BYTES)
  }

  bytes(): Uint8Array {
    const all = new Uint8Array(this.size)
    this.read(all, 0, all.length, 0)
    return all
  }
}

/** What stands for a `FileHandle`. */
class MemoryHandle {
  readonly #file: MemoryFile
  #at = 0
  #open = true

  constructor(file: MemoryFile) {
    this.#file = file
  }

  #held(): MemoryFile {
    if (!this.#open) throw failure('EBADF', 'a closed file')
    return this.#file
  }

  async read(into: Uint8Array, offset = 0, length = into.length - offset, position: number | null = null) {
    const bytesRead = this.#held().read(into, offset, length, position ?? this.#at)
    if (position === null) this.#at += bytesRead
    return { bytesRead, buffer: into }
  }

  async write(bytes: Uint8Array, offset = 0, length = bytes.length - offset, position: number | null = null) {
    this.#held().write(bytes.subarray(offset, offset + length), position ?? this.#at)
    if (position === null) this.#at += length
    return { bytesWritten: length, buffer: bytes }
  }

  async appendFile(data: Uint8Array | string): Promise<void> {
    const file = this.#held()
    file.write(typeof data === 'string' ? Buffer.from(data) : data, file.size)
  }

  async readFile(options?: unknown): Promise<Uint8Array | string> {
    return decoded(this.#held().bytes(), options)
  }

  async *readLines(options?: { encoding?: BufferEncoding }): AsyncGenerator<string, void, undefined> {
    const lines = Buffer.from(this.#held().bytes()).toString(options?.encoding).split('\n')
    if (lines.at(-1) === '') lines.pop()
    yield* lines
  }

  async truncate(size = 0): Promise<void> {
    this.#held().truncate(size)
  }

  async stat() {
    return statOf(this.#held())
  }

  async sync(): Promise<void> {}

  async datasync(): Promise<void> {}

  async chmod(): Promise<void> {}

  async close(): Promise<void> {
    this.#open = false
  }
}

const FOLDER = 'folder'

export class MemoryDisk {
  readonly #root: string
  readonly #entries = new Map<string, MemoryFile | typeof FOLDER>()
  readonly #real = new Map<string, Method>()

  /** Stands under everything below `root` (absolute, normal form) once it is installed. The folder itself need not exist. */
  constructor(root: string) {
    this.#root = root
    this.#entries.set(root, FOLDER)
  }

  /** Bytes of memory that files take. */
  get held(): number {
    let held = 0
    for (const entry of this.#entries.values()) if (entry !== FOLDER) held += entry.held
    return held
  }

  install(): void {
    const module = fsp as unknown as Record<string, Method>
    for (const name of METHODS) {
      const real = module[name]!
      this.#real.set(name, real)
      module[name] = (...args) => {
        const [path] = args
        if (typeof path !== 'string' || !(path === this.#root || path.startsWith(this.#root + sep))) return real.apply(fsp, args)
        return this.#call(name, args as [string, ...unknown[]])
      }
    }
    syncBuiltinESMExports()
  }

  /** Puts the real one back. */
  uninstall(): void {
    const module = fsp as unknown as Record<string, Method>
    for (const [name, real] of this.#real) module[name] = real
    this.#real.clear()
    syncBuiltinESMExports()
  }

  /** Forgets all below `path`: a machine that is gone. */
  forget(path: string): void {
    for (const name of this.#entries.keys()) if (name === path || name.startsWith(path + sep)) this.#entries.delete(name)
  }

  async #call(name: string, args: readonly [string, ...unknown[]]): Promise<unknown> {
    const [path] = args
    switch (name) {
      case 'open':
        return this.#openFile(path, args[1])
      case 'readFile':
        return decoded(this.#file(path).bytes(), args[1])
      case 'mkdir':
        return this.#makeFolder(path)
      case 'readdir':
        return this.#names(path)
      case 'rename': {
        const moved = this.#file(path)
        this.#entries.delete(path)
        this.#entries.set(args[1] as string, moved)
        return
      }
      case 'rm': {
        const { force = false } = (args[1] ?? {}) as { force?: boolean }
        if (!this.#entries.has(path) && !force) throw failure('ENOENT', path)
        return this.forget(path)
      }
      case 'chmod':
        return void this.#entry(path)
      case 'stat':
        return statOf(this.#entry(path))
      default:
        throw new Error(`the disk in memory does not know ${name}(); teach it`)
    }
  }

  #entry(path: string): MemoryFile | typeof FOLDER {
    const entry = this.#entries.get(path)
    if (entry === undefined) throw failure('ENOENT', path)
    return entry
  }

  #file(path: string): MemoryFile {
    const entry = this.#entry(path)
    if (entry === FOLDER) throw failure('EISDIR', path)
    return entry
  }

  #names(path: string): string[] {
    if (this.#entry(path) !== FOLDER) throw failure('ENOTDIR', path)
    return [...this.#entries.keys()].filter((name) => dirname(name) === path && name !== path).map((name) => basename(name))
  }

  #makeFolder(path: string): void {
    if (this.#entries.has(path)) throw failure('EEXIST', path)
    if (this.#entries.get(dirname(path)) !== FOLDER) throw failure('ENOENT', path)
    this.#entries.set(path, FOLDER)
  }

  #openFile(path: string, flags: unknown): MemoryHandle {
    const there = this.#entries.get(path)
    if (there === FOLDER) return new MemoryHandle(new MemoryFile()) // to be flushed
    const create =
      typeof flags === 'number' ? (flags & constants.O_CREAT) !== 0 : typeof flags === 'string' && flags !== 'r' && flags !== 'r+'
    if (there !== undefined) {
      if (typeof flags === 'string' && flags.includes('x')) throw failure('EEXIST', path)
      if (flags === 'w') there.truncate(0)
      return new MemoryHandle(there)
    }
    if (!create) throw failure('ENOENT', path)
    if (this.#entries.get(dirname(path)) !== FOLDER) throw failure('ENOENT', path)
    const file = new MemoryFile()
    this.#entries.set(path, file)
    return new MemoryHandle(file)
  }
}

function decoded(bytes: Uint8Array, options: unknown): Uint8Array | string {
  const encoding = typeof options === 'string' ? options : (options as { encoding?: string } | undefined)?.encoding
  return encoding === undefined ? Buffer.from(bytes) : Buffer.from(bytes).toString(encoding as BufferEncoding)
}

function statOf(entry: MemoryFile | typeof FOLDER) {
  const isFolder = entry === FOLDER
  return { size: isFolder ? 0 : entry.size, mode: 0o600, isDirectory: () => isFolder, isFile: () => !isFolder }
}

function failure(code: string, what: string): Error {
  return Object.assign(new Error(`${code}: ${what}`), { code })
}

/**
 * A disk that fails, for tests of everything that writes. It stands under `node:fs/promises` itself, for paths below one folder: no writer can pass
 * it by, and none needs a seam for it. Each call is counted; a plan says for each one whether it passes, fails (before, or after a part was written),
 * is cut short as systems may, or is the last one that the process makes. After that every call fails, so nothing more reaches the disk.
 *
 * It also keeps what a power cut would leave: bytes count as kept when their file was flushed, names when their folder was. `cutInto` makes the
 * folder as it could be found then, under several assumptions about what had reached the disk by itself. A write within one sector of 512 bytes is
 * there or not, as disks do it; longer ones may stop anywhere. Not modelled: a disk that keeps other bytes than were written, or lies about a flush.
 */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import fsp, { type FileHandle } from 'node:fs/promises'
import { syncBuiltinESMExports } from 'node:module'
import { basename, dirname, join, resolve, sep } from 'node:path'
import type { Rng } from '../../src/runtime/index.ts'

export type DiskErrorCode = 'EIO' | 'ENOSPC' | 'EROFS'

/**
 * What becomes of a call. `part`: of the bytes that a write was given, so much is written before (a fraction). `short`: the call does less than it
 * was asked, without an error, as read(2) and write(2) may.
 */
export type Fate =
  | 'pass'
  | 'short'
  | { readonly fail: DiskErrorCode; readonly part?: number }
  | { readonly die: 'before' | 'after'; readonly part?: number }

/** A call, as a plan sees it. */
export interface DiskCall {
  /** From 1. */
  readonly number: number
  /** `write`, `rename`, … */
  readonly name: string
  readonly path: string
  /** Whether it can change anything. */
  readonly changes: boolean
}

export type Plan = (call: DiskCall) => Fate

/** What had reached the disk besides what was flushed, when the power went. */
export type Cut = 'nothing' | 'names' | 'bytes' | 'some'

interface FileNode {
  readonly kind: 'file'
  durable: Uint8Array
  /** Since the last flush, in order. */
  pending: ({ readonly at: number; readonly bytes: Uint8Array } | { readonly length: number })[]
  size: number
}

interface FolderNode {
  readonly kind: 'folder'
  readonly names: Map<string, Node>
  readonly durable: Map<string, Node>
}

type Node = FileNode | FolderNode

/** A change of names, not flushed yet. */
interface NameChange {
  readonly folders: readonly FolderNode[]
  apply(): void
}

const METHODS = [
  ...['open', 'readFile', 'writeFile', 'rename', 'rm', 'unlink', 'mkdir', 'readdir', 'stat', 'lstat', 'chmod', 'link'],
  ...['appendFile', 'truncate', 'copyFile', 'rmdir', 'symlink', 'utimes', 'access', 'mkdtemp', 'opendir', 'cp', 'realpath'],
] as const
/** Calls that this disk knows how to follow; whoever begins to use another one finds a test that says so. */
const FOLLOWED: ReadonlySet<string> = new Set([
  ...[
    'open',
    'readFile',
    'writeFile',
    'rename',
    'rm',
    'unlink',
    'mkdir',
    'readdir',
    'stat',
    'lstat',
    'chmod',
    'link',
    'access',
    'realpath',
  ],
])
const SECTOR_BYTES = 512
/** What a call does that is cut short. */
const HALF = 0.5
/** Calls of which the system may do less than asked, without an error. */
const SHORTENED: ReadonlySet<string> = new Set(['read', 'write'])
const CHANGING: ReadonlySet<string> = new Set(['writeFile', 'rename', 'rm', 'unlink', 'mkdir', 'chmod', 'link'])

type Method = (...args: unknown[]) => Promise<unknown>

export class FaultyDisk {
  readonly #root: string
  #plan: Plan = () => 'pass'
  #dead = false
  readonly #calls: DiskCall[] = []
  readonly #real = new Map<string, Method>()
  readonly #tree: FolderNode
  #changes: NameChange[] = []
  readonly #open = new Set<FileHandle>()

  /** Stands under everything below `root` once it is installed. */
  constructor(root: string) {
    this.#root = resolve(root)
    this.#tree = read(this.#root)
  }

  /** Calls so far, in order. */
  get calls(): readonly DiskCall[] {
    return this.#calls
  }

  /** Whether the process has made its last call: what it tells anybody afterwards, nobody hears. */
  get dead(): boolean {
    return this.#dead
  }

  set plan(plan: Plan) {
    this.#plan = plan
  }

  install(): void {
    const module = fsp as unknown as Record<string, Method>
    for (const name of METHODS) {
      const real = module[name]!
      this.#real.set(name, real)
      module[name] = (...args) => {
        const paths = [args[0], args[1]].filter((arg): arg is string => typeof arg === 'string' && this.#isBelow(arg))
        return paths.length === 0 ? real.apply(fsp, args) : this.#path(name, real, args)
      }
    }
    syncBuiltinESMExports()
  }

  /** Puts the real one back and closes what was left open. */
  async uninstall(): Promise<void> {
    const module = fsp as unknown as Record<string, Method>
    for (const [name, real] of this.#real) module[name] = real
    this.#real.clear()
    syncBuiltinESMExports()
    for (const handle of this.#open) await handle.close().catch(() => {})
    this.#open.clear()
  }

  /** Makes the folder `into` as it could be found after a power cut now. */
  cutInto(into: string, cut: Cut, rng: Rng): void {
    const names = cut === 'names' ? this.#changes.length : cut === 'some' ? rng.below(this.#changes.length + 1) : 0
    // A journal keeps its order: what comes later is not there without what came before.
    for (const change of this.#changes.slice(0, names)) change.apply()
    write(this.#tree, into, cut, rng)
  }

  #isBelow(path: string): boolean {
    const whole = resolve(path)
    return whole === this.#root || whole.startsWith(this.#root + sep)
  }

  /** One call on a path. */
  async #path(name: string, real: Method, args: unknown[]): Promise<unknown> {
    if (!FOLLOWED.has(name)) throw new Error(`the faulty disk does not follow ${name}(); teach it`)
    const path = args[0] as string
    const creates = name === 'open' && isCreating(args[1])
    return this.#call({ name, path, changes: CHANGING.has(name) || creates }, async () => {
      const result = await real.apply(fsp, args)
      return this.#follow(name, args, result)
    })
  }

  /** Counts a call and lets it meet its fate. `part`: does a fraction of what it should. */
  async #call<T>(what: Omit<DiskCall, 'number'>, whole: () => Promise<T>, part?: (fraction: number) => Promise<T>): Promise<T> {
    const call = { ...what, number: this.#calls.length + 1 }
    this.#calls.push(call)
    if (this.#dead) throw diskError('EIO', call)
    const fate = this.#plan(call)
    if (fate === 'pass') return whole()
    if (fate === 'short') return part !== undefined && SHORTENED.has(call.name) ? part(HALF) : whole()
    if (fate.part !== undefined && part !== undefined) await part(fate.part)
    if ('fail' in fate) throw diskError(fate.fail, call)
    if (fate.die === 'after' && fate.part === undefined) await whole()
    this.#dead = true
    throw diskError('EIO', call)
  }

  // What the calls change ---------------------------------------------------------------------------------------------------------

  #follow(name: string, args: readonly unknown[], result: unknown): unknown {
    const path = args[0] as string
    switch (name) {
      case 'open':
        return this.#opened(path, args[1], result as FileHandle)
      case 'mkdir':
        this.#makeFolders(path)
        return result
      case 'rename':
        this.#rename(path, args[1] as string)
        return result
      case 'link':
        this.#link(path, args[1] as string)
        return result
      case 'rm':
      case 'unlink':
        this.#remove(path)
        return result
      case 'writeFile':
        this.#wrote(this.#create(path), 0, bytesOf(args[1]), true)
        return result
      default:
        return result
    }
  }

  #opened(path: string, flags: unknown, handle: FileHandle): FileHandle {
    this.#open.add(handle)
    let node = this.#find(path)
    if (isCreating(flags)) {
      const truncates = typeof flags === 'string' && flags.startsWith('w')
      if (node === undefined) node = this.#create(path)
      else if (truncates && node.kind === 'file') this.#truncate(node, 0)
    }
    return this.#handle(path, handle, node)
  }

  /** The handle with its calls counted. */
  #handle(path: string, handle: FileHandle, node: Node | undefined): FileHandle {
    const file = node?.kind === 'file' ? node : null
    let position = 0
    const append = (data: unknown) => {
      const bytes = bytesOf(data)
      const piece = async (fraction: number) => {
        const some = bytes.subarray(0, Math.floor(bytes.length * fraction))
        await handle.appendFile(some)
        if (file !== null) this.#wrote(file, position, some, false)
        position += some.length
      }
      return this.#call({ name: 'appendFile', path, changes: true }, () => piece(1), piece)
    }
    const calls: Readonly<Record<string, Method>> = {
      write: (buffer, offset, length, at) => {
        const piece = async (fraction: number) => {
          const count = fraction === HALF ? Math.ceil((length as number) / 2) : reached(at as number, length as number, fraction)
          const from = offset as number
          const bytes = (buffer as Uint8Array).slice(from, from + count)
          const done = await handle.write(bytes, 0, bytes.length, at as number)
          if (file !== null) this.#wrote(file, at as number, bytes.subarray(0, done.bytesWritten), false)
          return { ...done, buffer }
        }
        return this.#call({ name: 'write', path, changes: true }, () => piece(1), piece)
      },
      read: (buffer, offset, length, at) => {
        const piece = async (fraction: number) =>
          handle.read(buffer as Uint8Array, offset as number, Math.ceil((length as number) * fraction), at as number)
        return this.#call(
          { name: 'read', path, changes: false },
          () => piece(1),
          (fraction) => piece(fraction),
        )
      },
      appendFile: append,
      writeFile: append,
      truncate: (length) =>
        this.#call({ name: 'truncate', path, changes: true }, async () => {
          await handle.truncate(length as number)
          if (file !== null) this.#truncate(file, length as number)
        }),
      sync: () => this.#flush(path, node, () => handle.sync()),
      datasync: () => this.#flush(path, node, () => handle.datasync()),
      stat: () => this.#call({ name: 'fstat', path, changes: false }, () => handle.stat()),
      chmod: (mode) => this.#call({ name: 'fchmod', path, changes: true }, () => handle.chmod(mode as number)),
      close: async () => {
        this.#open.delete(handle)
        // Whatever becomes of the call, the descriptor is gone: close(2) must not be repeated.
        const closed = handle.close()
        await this.#call({ name: 'close', path, changes: false }, () => closed).finally(() => closed.catch(() => {}))
      },
    }
    return new Proxy(handle, {
      get: (target, name) => {
        if (typeof name === 'string' && name in calls) return calls[name]
        const value: unknown = Reflect.get(target, name, target)
        if (typeof value !== 'function') return value
        if (name === 'readLines' || name === Symbol.asyncDispose) return value.bind(target)
        return () => {
          throw new Error(`the faulty disk does not follow ${String(name)}() of a file; teach it`)
        }
      },
    })
  }

  #flush(path: string, node: Node | undefined, flush: () => Promise<void>): Promise<void> {
    return this.#call({ name: 'sync', path, changes: true }, async () => {
      await flush()
      if (node?.kind === 'file') {
        node.durable = contentOf(node, () => 1)
        node.pending = []
      } else if (node !== undefined) {
        for (const change of this.#changes) if (change.folders.includes(node)) change.apply()
        this.#changes = this.#changes.filter(({ folders }) => !folders.includes(node))
      }
    })
  }

  #wrote(file: FileNode, at: number, bytes: Uint8Array, whole: boolean): void {
    if (whole) this.#truncate(file, 0)
    file.pending.push({ at, bytes: bytes.slice() })
    file.size = Math.max(file.size, at + bytes.length)
  }

  #truncate(file: FileNode, length: number): void {
    if (length === file.size) return
    file.pending.push({ length })
    file.size = length
  }

  // Names -------------------------------------------------------------------------------------------------------------------------

  #parts(path: string): string[] {
    return resolve(path)
      .slice(this.#root.length)
      .split(sep)
      .filter((part) => part !== '')
  }

  #find(path: string): Node | undefined {
    let node: Node | undefined = this.#tree
    for (const part of this.#parts(path)) node = node?.kind === 'folder' ? node.names.get(part) : undefined
    return node
  }

  #folder(path: string): FolderNode {
    const node = this.#find(path)
    if (node?.kind !== 'folder') throw new Error(`the faulty disk knows no folder ${path}`)
    return node
  }

  #set(path: string, node: Node): void {
    const folder = this.#folder(dirname(path))
    const name = basename(path)
    folder.names.set(name, node)
    this.#changes.push({ folders: [folder], apply: () => void folder.durable.set(name, node) })
  }

  #create(path: string): FileNode {
    const found = this.#find(path)
    if (found?.kind === 'file') return found
    const node: FileNode = { kind: 'file', durable: new Uint8Array(0), pending: [], size: 0 }
    this.#set(path, node)
    return node
  }

  #makeFolders(path: string): void {
    const parts = this.#parts(path)
    for (let depth = 1; depth <= parts.length; depth++) {
      const at = join(this.#root, ...parts.slice(0, depth))
      if (this.#find(at) === undefined) this.#set(at, { kind: 'folder', names: new Map(), durable: new Map() })
    }
  }

  #rename(from: string, to: string): void {
    const node = this.#find(from)
    if (node === undefined) throw new Error(`the faulty disk knows no ${from}`)
    const [source, target] = [this.#folder(dirname(from)), this.#folder(dirname(to))]
    source.names.delete(basename(from))
    target.names.set(basename(to), node)
    this.#changes.push({
      folders: [source, target],
      apply: () => {
        if (source.durable.get(basename(from)) === node) source.durable.delete(basename(from))
        target.durable.set(basename(to), node)
      },
    })
  }

  #link(from: string, to: string): void {
    const node = this.#find(from)
    if (node !== undefined) this.#set(to, node)
  }

  #remove(path: string): void {
    if (this.#find(path) === undefined) return
    const folder = this.#folder(dirname(path))
    folder.names.delete(basename(path))
    this.#changes.push({ folders: [folder], apply: () => void folder.durable.delete(basename(path)) })
  }
}

/** How many bytes of a write reach the disk when it stops after `fraction`: of one within a sector all or none. */
function reached(at: number, length: number, fraction: number): number {
  const isOneSector = Math.floor(at / SECTOR_BYTES) === Math.floor((at + length - 1) / SECTOR_BYTES)
  if (isOneSector) return fraction < HALF ? 0 : length
  return Math.floor(length * fraction)
}

function isCreating(flags: unknown): boolean {
  return typeof flags === 'number' ? (flags & 0o100) !== 0 : typeof flags === 'string' && /[wa]/.test(flags)
}

function bytesOf(data: unknown): Uint8Array {
  return typeof data === 'string' ? new Uint8Array(Buffer.from(data)) : new Uint8Array(data as Uint8Array)
}

/** The content of a file with a fraction of each pending change, 0 to 1, in order. */
function contentOf(file: FileNode, fraction: () => number): Uint8Array {
  let content = file.durable
  for (const change of file.pending) {
    const share = fraction()
    if (share === 0) continue
    if ('length' in change) {
      const cut = new Uint8Array(change.length)
      cut.set(content.subarray(0, change.length))
      content = cut
      continue
    }
    const bytes = change.bytes.subarray(0, reached(change.at, change.bytes.length, share))
    const grown = new Uint8Array(Math.max(content.length, change.at + bytes.length))
    grown.set(content)
    grown.set(bytes, change.at)
    content = grown
  }
  return content
}

function read(path: string): FolderNode {
  const names = new Map<string, Node>()
  for (const entry of readdirSync(path, { withFileTypes: true })) {
    const below = join(path, entry.name)
    if (entry.isDirectory()) names.set(entry.name, read(below))
    else if (entry.isFile()) {
      const durable = new Uint8Array(readFileSync(below))
      names.set(entry.name, { kind: 'file', durable, pending: [], size: durable.length })
    }
  }
  return { kind: 'folder', names, durable: new Map(names) }
}

function write(folder: FolderNode, into: string, cut: Cut, rng: Rng): void {
  mkdirSync(into, { recursive: true, mode: 0o700 })
  const fraction = () => {
    if (cut !== 'some') return cut === 'bytes' ? 1 : 0
    return [0, 1, rng.unit()][rng.below(3)]!
  }
  for (const [name, node] of folder.durable) {
    const path = join(into, name)
    if (node.kind === 'folder') write(node, path, cut, rng)
    else writeFileSync(path, contentOf(node, fraction), { mode: 0o600 })
  }
}

function diskError(code: DiskErrorCode, { name, path }: DiskCall): Error {
  return Object.assign(new Error(`${code}: of the faulty disk, ${name} '${path}'`), { code, syscall: name, path })
}

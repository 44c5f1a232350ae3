/**
 * Reads the configuration once: TOML file, then environment, then flags, each over the one before, into a frozen object. An unknown
 * key, a wrong value or an unreadable file ends the start with `CONFIG_BAD` that names the key, where it came from and what it takes:
 * a setting that is silently ignored is how a face ends up open to the network, or a node in another network than its user thinks.
 */
import { readFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { join, resolve } from 'node:path'
import { parse as parseToml } from 'smol-toml'
import { whyDisk } from '../errors/disk.ts'
import { OverlayError } from '../errors/index.ts'
import { ADDRESS_FILE, type Config, KEYS, type Key, variableOf } from './schema.ts'
import { Refused } from './values.ts'

/** Where values come from; all of it is passed in, so that tests (and `main.ts`) decide. */
export interface ConfigSources {
  /** Flags by key name (`store-quota`), as given. `config` names a file. */
  readonly flags: Readonly<Record<string, unknown>>
  readonly env: Readonly<Record<string, string | undefined>>
  /** Default: the user's home folder. */
  readonly home?: string
  /** Default: the current folder; relative paths of flags and environment start there, those of a file in the file's own folder. */
  readonly cwd?: string
}

/** Variables that are no keys of the schema and are still ours. */
const OTHER_VARIABLES: ReadonlySet<string> = new Set(['GYRE_CONFIG'])
/** Larger files are refused before they are read into memory. */
const FILE_BYTES_MAX = 256 * 1024

/** The configuration of a node. Errors: `CONFIG_BAD`. */
export function loadConfig(sources: ConfigSources): Config {
  const cwd = sources.cwd ?? process.cwd()
  const home = sources.home ?? homedir()
  const flags = known(sources.flags, 'flag', (name) => `--${name}`, ['config'])
  const environment = known(fromEnvironment(sources.env), 'environment variable', variableOf, [])

  const earlyDir = flags['data-dir'] ?? environment['data-dir']
  const folder = earlyDir === undefined ? defaultDataDir(sources.env, home) : resolve(cwd, expectPath(earlyDir, 'data-dir'))
  const file = readConfigFile(folder, sources, cwd)

  const config: Partial<Record<keyof Config, unknown>> = {}
  for (const key of KEYS) {
    const flag = flags[key.name]
    const variable = environment[key.name]
    const inFile = file.values[key.name]
    if (flag !== undefined) config[key.field] = parsed(key, flag, `the flag --${key.name}`, cwd)
    else if (variable !== undefined) config[key.field] = parsed(key, variable, `the variable ${variableOf(key.name)}`, cwd)
    else if (inFile !== undefined) config[key.field] = parsed(key, inFile, file.path, file.folder)
    else if (key.fallback !== null) config[key.field] = parsed(key, key.fallback, 'the default', cwd)
  }
  config.dataDir ??= folder
  config.addressFile ??= join(String(config.dataDir), ADDRESS_FILE)
  return Object.freeze(config) as Config
}

/** The defaults with `values` in place of them, for programs that make nodes themselves: nothing is read, nothing is checked. */
export function defaultConfig(values: Partial<Config> & Pick<Config, 'dataDir'>): Config {
  const config: Partial<Record<keyof Config, unknown>> = {}
  for (const key of KEYS) if (key.fallback !== null) config[key.field] = key.parse(key.fallback)
  return Object.freeze({ ...(config as Config), addressFile: join(values.dataDir, ADDRESS_FILE), ...values })
}

/** `~/.gyre` if it is there or nothing else is said; `$XDG_DATA_HOME/gyre` if that is set and `~/.gyre` does not exist. */
export function defaultDataDir(env: Readonly<Record<string, string | undefined>>, home: string = homedir()): string {
  const classic = join(home, '.gyre')
  const xdg = env.XDG_DATA_HOME
  return xdg === undefined || !xdg.startsWith('/') || exists(classic) ? classic : join(xdg, 'gyre')
}

function parsed(key: Key, value: unknown, source: string, base: string): unknown {
  try {
    const result = key.parse(value)
    if (key.field === 'dataDir' || key.field === 'addressFile') return resolve(base, String(result))
    if (key.field === 'api' && typeof result === 'object' && result !== null && 'path' in result)
      return Object.freeze({ path: resolve(base, result.path) })
    if (key.field !== 'bootstrap') return result
    return Object.freeze(
      (result as readonly string[]).map((one) => (one.startsWith('file:') ? `file:${resolve(base, one.slice(5))}` : one)),
    )
  } catch (error) {
    if (!(error instanceof Refused)) throw error
    throw bad(`The value of "${key.name}" in ${source} is wrong. It takes ${error.message}.`)
  }
}

function expectPath(value: unknown, name: string): string {
  if (typeof value === 'string' && value !== '') return value
  throw bad(`"${name}" takes a path.`)
}

/** `values` if each of its keys is in the schema or among `also`; unknown ones are an error that lists the known. */
function known(
  values: Readonly<Record<string, unknown>>,
  what: string,
  spelled: (name: string) => string,
  also: readonly string[],
): Readonly<Record<string, unknown>> {
  for (const name of Object.keys(values)) {
    if (also.includes(name) || KEYS.some((key) => key.name === name)) continue
    throw bad(`Unknown ${what} ${spelled(name)}. Known: ${KEYS.map((key) => spelled(key.name)).join(', ')}.`)
  }
  return values
}

function fromEnvironment(env: Readonly<Record<string, string | undefined>>): Record<string, string> {
  const values: Record<string, string> = {}
  for (const [variable, value] of Object.entries(env)) {
    if (!variable.startsWith('GYRE_') || value === undefined || OTHER_VARIABLES.has(variable)) continue
    values[variable.slice('GYRE_'.length).toLowerCase().replaceAll('_', '-')] = value
  }
  return values
}

interface ConfigFile {
  readonly path: string
  readonly folder: string
  readonly values: Readonly<Record<string, unknown>>
}

/** The named file, which must be there, or `DIR/gyre.toml`, which need not. */
function readConfigFile(folder: string, { flags, env }: ConfigSources, cwd: string): ConfigFile {
  const named = flags.config ?? env.GYRE_CONFIG
  const path = named === undefined ? join(folder, 'gyre.toml') : resolve(cwd, expectPath(named, 'config'))
  const parent = resolve(path, '..')
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (error) {
    if (named === undefined && (error as NodeJS.ErrnoException).code === 'ENOENT') return { path, folder: parent, values: {} }
    throw bad(`The configuration file ${path} cannot be read: ${whyDisk(error)}.`, error)
  }
  if (text.length > FILE_BYTES_MAX) throw bad(`The configuration file ${path} is larger than ${FILE_BYTES_MAX} bytes.`)
  let values: Record<string, unknown>
  try {
    values = parseToml(text)
  } catch (error) {
    throw bad(`The configuration file ${path} is not valid TOML: ${firstLine(error)}`, error)
  }
  return { path, folder: parent, values: known(values, `key in ${path}:`, (name) => `"${name}"`, []) }
}

function firstLine(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).split('\n')[0] ?? ''
}

function exists(path: string): boolean {
  try {
    readFileSync(path)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EISDIR'
  }
}

function bad(message: string, cause?: unknown): OverlayError {
  return new OverlayError('config', 'CONFIG_BAD', message, cause)
}

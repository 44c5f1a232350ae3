/**
 * The `gyre` command: its arguments, its help, and the way to each sub-command. Everything else is imported only when its command runs,
 * so that `gyre status` does not wait for the whole node to load. Exit codes: `output.ts`.
 */
import { setFlagsFromString } from 'node:v8'
import { Command, CommanderError, Option } from 'commander'
import {
  CLOCKS,
  type ClockName,
  DEFAULT_CLOCK,
  KEYS,
  type Key,
  LOG_LEVELS,
  type LogLevel,
  shownFallback,
  variableOf,
} from '../../src/config/index.ts'
import { VERSION } from '../version.ts'
import { EXIT, exitCodeOf, Interrupted, printFailure, UsageError } from './output.ts'

const program = new Command('gyre')
  .description('Publish and fetch over closed onion-routed loops.')
  .version(VERSION, '-V, --version')
  .showHelpAfterError('(gyre COMMAND --help shows what it takes)')
  .exitOverride()
  .configureOutput({ outputError: (text, write) => write(text.replace(/^error:/, 'gyre:')) })
  .helpCommand(false)
  .addHelpText('after', '\nExit codes: 0 done, 1 fault, 2 usage, 3 not found, 4 network, 5 integrity.')

/** A sub-command that speaks to a running node. */
function nodeCommand(name: string, description: string, parent: Command = program): Command {
  return parent
    .command(name)
    .description(description)
    .option('--data-dir <DIR>', "the node's data folder (default: GYRE_DATA_DIR or ~/.gyre)")
    .option('--api <URL>', "the node's API, if not the one that the data folder tells")
    .option('--config <FILE>', "the node's configuration file")
    .option('--json', 'answer with JSON')
}

/**
 * While the engine compiles or collects, no link's tick goes out, and whoever watches the wires sees that this node's user began something
 * (ARCHITECTURE D-109). So functions are compiled when they are loaded, and stay so (16 MB): else a first request compiles its whole way. And the heap
 * may double before all of it is collected: else every megabyte that is read or published brings a collection, and hardly anything else does.
 */
function standStillLess(): void {
  setFlagsFromString('--no-lazy')
  setFlagsFromString('--no-flush-bytecode')
  setFlagsFromString('--heap-growing-percent=100')
}

/** For single requests. */
function ownClock(): Option {
  return new Option('--clock <CLOCK>', "the clock of this one, if it is not the node's: only swift can be asked for").choices(
    CLOCKS,
  )
}

function flagOf(key: Key): Option {
  const several = key.several ? '...' : ''
  return new Option(
    `--${key.name} <${key.takes}${several}>`,
    `${key.meaning} (${variableOf(key.name)}; default: ${shownFallback(key)})`,
  )
}

const start = program.command('start').description('run a node until it is told to stop')
for (const key of KEYS) start.addOption(flagOf(key))
start
  .option('--config <FILE>', 'a TOML file with the same keys (GYRE_CONFIG; default: DIR/gyre.toml if it is there)')
  .option('--supervised', 'for a parent process: print one line of JSON when listening, stop when standard input ends')
  .action(async (options: Record<string, unknown>) => {
    const { supervised, ...flags } = options
    standStillLess()
    const { loadConfig } = await import('../../src/config/index.ts')
    const config = loadConfig({ flags: kebab(flags), env: process.env })
    const { createLog } = await import('../../src/log/index.ts')
    const { runNode } = await import('./start.ts')
    const { startNode } = await import('../node.ts')
    // Ends here even if something still holds the event loop: the bounded stop is over.
    process.exit(await runNode(config, createLog(config.logLevel), startNode, supervised === true))
  })

nodeCommand('publish', 'publish a file, standard input (-) or a folder as a site, and print its address')
  .argument('<PATH>')
  .option('--key <NAME>', 'the key at whose address the site is (default for a folder: its name)')
  .option('--allow <PATH>', 'a file or folder that may go out although the guard objects; repeat it for each', gathered)
  .option('--strip', 'take metadata (position, author, dates) out of JPEG and PNG pictures')
  .option('--dry-run', 'only show what would go out: exit code 0, or 2 if the guard objects')
  .option('--max-file <SIZE>', 'the longest file of a folder that the guard lets pass (default: 512MiB)')
  .option('--name <NAME>', 'the name kept inside a single file (default: the file name)')
  .option('--type <TYPE>', 'the media type of a single file (default: by extension)')
  .addOption(ownClock())
  .option('--no-keep', 'do not keep the file: it expires after 30 days, and this node does not note its address')
  .action(async (path: string, options: object) => (await import('./publish.ts')).publish(path, options, interruption()))

nodeCommand('fetch', 'fetch ADDRESS, NAME, or a path of a site there, to standard output or a file')
  .argument('<ADDRESS>')
  .option('-o, --output <FILE>', 'the file to write; it appears whole or not at all')
  .option('--trace', 'show where the time went, stage by stage, on standard error')
  .addOption(ownClock())
  .action(async (address: string, options: object) => (await import('./fetch.ts')).fetchTo(address, options, interruption()))

nodeCommand('keep', 'keep what is at ADDRESS alive: check its shares now and daily, renew them, put back what is missing')
  .argument('<ADDRESS>')
  .option('--no-wait', 'do not wait for the first check')
  .action(async (address: string, options: object) => (await import('./keeps.ts')).keep(address, options, interruption()))
nodeCommand('unkeep', 'keep what is at ADDRESS no longer; it stays until it expires')
  .argument('<ADDRESS>')
  .action(async (address: string, options: object) => (await import('./keeps.ts')).unkeep(address, options, interruption()))
nodeCommand('kept', 'list what this node keeps, and how it is').action(async (options: object) =>
  (await import('./keeps.ts')).kept(options, interruption()),
)
nodeCommand('receipt', 'ask the holders of ADDRESS how many nodes may vanish before it is lost')
  .argument('<ADDRESS>')
  .action(async (address: string, options: object) => (await import('./keeps.ts')).receipt(address, options, interruption()))

nodeCommand('sites', 'list the sites that this node publishes').action(async (options: object) =>
  (await import('./inspect.ts')).sites(options, interruption()),
)

const names = program
  .command('names')
  .description('the book of names: what NAME in http://NAME.gyre/ stands for on this node')
  .helpCommand(false)
nodeCommand('list', 'show all names, and where they came from', names).action(async (options: object) =>
  (await import('./names.ts')).listNames(options, interruption()),
)
nodeCommand('add', 'give ADDRESS a name', names)
  .argument('<NAME>')
  .argument('<ADDRESS>')
  .option('--replace', 'also if the name stands for another address now')
  .action(async (name: string, address: string, options: object) =>
    (await import('./names.ts')).addName(name, address, options, interruption()),
  )
nodeCommand('remove', 'take a name out of the book', names)
  .argument('<NAME>')
  .action(async (name: string, options: object) => (await import('./names.ts')).removeName(name, options, interruption()))
nodeCommand('import', "add the names of FILE (JSON, or lines 'NAME ADDRESS')", names)
  .argument('<FILE>')
  .option('--source <LABEL>', 'what the book says of where they came from (default: the file name)')
  .option('--replace', 'also names that stand for another address now')
  .action(async (file: string, options: object) => (await import('./names.ts')).importNames(file, options, interruption()))

/** A name that may stand as an argument or behind `--name`. */
function oneName(argument: string | undefined, option: { readonly name?: string }): string {
  const name = argument ?? option.name
  if (name === undefined) throw new UsageError('A name is missing.', 'Give it as the argument, or with --name.')
  if (argument !== undefined && option.name !== undefined && argument !== option.name)
    throw new UsageError('There are two names.', 'Give it once: as the argument, or with --name.')
  return name
}

const service = program
  .command('service')
  .description("live services: what listens on this machine, under a key's address")
  .helpCommand(false)
nodeCommand('add', 'offer HOST:PORT of this machine and print its address', service)
  .argument('[NAME]', 'the key under whose address it is; made if there is none')
  .option('--name <NAME>', 'the same')
  .requiredOption('--target <HOST:PORT>', 'where connections go')
  .option('--port <PORT>', 'the port under the address (default: 80)')
  .option('--loops <N>', 'under a paced clock: how many loops stand for it, 1 to 8 (default: 2)')
  .option('--rate <R>', 'cells a second of each: 8, 32, 128, 512, 2048 or 8192 (default: 128)')
  .action(async (name: string | undefined, options: { name?: string; target: string }) =>
    (await import('./service.ts')).addService({ ...options, name: oneName(name, options) }, interruption()),
  )
nodeCommand('list', 'show the services of this node', service).action(async (options: object) =>
  (await import('./service.ts')).listServices(options, interruption()),
)
nodeCommand('remove', 'stop a service; its key and address stay', service)
  .argument('<NAME>')
  .action(async (name: string, options: object) => (await import('./service.ts')).removeService(name, options, interruption()))

nodeCommand('status', 'show what the node says of itself').action(async (options: object) =>
  (await import('./inspect.ts')).status(options, interruption()),
)
nodeCommand('health', 'tell whether the node is ready: exit code 0, else 4').action(async (options: object) =>
  (await import('./inspect.ts')).health(options, interruption()),
)
nodeCommand('peers', "show the node's neighbours").action(async (options: object) =>
  (await import('./inspect.ts')).peers(options, interruption()),
)
nodeCommand('loops', "show the node's own loops").action(async (options: object) =>
  (await import('./inspect.ts')).loops(options, interruption()),
)
const keys = nodeCommand('keys', "show the node's public id and where its keys are; with a sub-command: backups").helpCommand(
  false,
)
keys.action(async (options: object) => (await import('./inspect.ts')).keys(options, interruption()))

/** A sub-command of `keys` that works on the folder of a node that does not run. */
function backupCommand(name: string, description: string): Command {
  return keys
    .command(name)
    .description(description)
    .argument('<FILE>')
    .option('--passphrase-file <FILE>', 'its first line is the passphrase (default: asked for on the terminal)')
    .option('--data-dir <DIR>', "the node's data folder (default: GYRE_DATA_DIR or ~/.gyre)")
    .option('--config <FILE>', "the node's configuration file")
    .option('--json', 'answer with JSON')
}

backupCommand('export', 'write identity, keys, sites, services, names and keeps of a stopped node to one encrypted FILE')
  .option('--leave-out-damaged', 'go on if something in the folder is damaged, without it')
  // With its parent's: a flag that both know goes to the parent.
  .action(async (file: string, _: object, command: Command) =>
    (await import('./backup.ts')).exportKeys(file, command.optsWithGlobals(), interruption()),
  )
backupCommand('import', 'put what FILE holds into the data folder of a stopped node, whole or not at all')
  .option('--replace', 'also in the place of another identity, or of other keys and names, that are there')
  .action(async (file: string, _: object, command: Command) =>
    (await import('./backup.ts')).importKeys(file, command.optsWithGlobals(), interruption()),
  )

const tokens = program.command('tokens').description("tokens of the node's API for single programs").helpCommand(false)
nodeCommand('add', 'make a token and print it, this once', tokens)
  .argument('[NAME]')
  .option('--name <NAME>', 'the same')
  .addOption(new Option('--scope <SCOPE>', 'what it may do').choices(['read', 'publish', 'admin']).default('read'))
  .action(async (name: string | undefined, options: { name?: string; scope?: string }) =>
    (await import('./tokens.ts')).addToken(oneName(name, options), options, interruption()),
  )
nodeCommand('list', 'show the tokens that were made', tokens).action(async (options: object) =>
  (await import('./tokens.ts')).listTokens(options, interruption()),
)
nodeCommand('remove', 'take a token back, at once', tokens)
  .argument('<NAME>')
  .action(async (name: string, options: object) => (await import('./tokens.ts')).removeToken(name, options, interruption()))

/** What a test network passes on to its nodes as it is. */
const PASSED = KEYS.filter(({ name }) => ['cover', 'fixed-loops', 'fixed-rate', 'hold', 'bandwidth'].includes(name))

const testnet = program
  .command('testnet')
  .description('run a network of N node processes on loopback; prints one line of JSON when it is ready')
  .requiredOption('--nodes <N>', 'how many nodes (1 to 64)', wholeFrom(1, 64))
  .addOption(new Option('--clock <CLOCK>', 'the clock of its nodes').choices(CLOCKS).default(DEFAULT_CLOCK))
  .addOption(new Option('--log-level <LEVEL>', 'what its nodes log').choices(LOG_LEVELS).default('warn'))
  .option('--json', 'changes nothing: its answer is JSON')
for (const key of PASSED) testnet.addOption(flagOf(key))
testnet.action(async (options: { nodes: number; clock: ClockName; logLevel: LogLevel }) => {
  const { runTestnet } = await import('../testnet/run.ts')
  const given: Record<string, unknown> = kebab({ ...options })
  const flags = PASSED.flatMap(({ name }) => (given[name] === undefined ? [] : [`--${name}`, String(given[name])]))
  await runTestnet({ ...options, flags }, interruption())
})

program
  .command('demo')
  .description('start eight nodes, publish, fetch through another, compare, stop everything')
  .addOption(new Option('--clock <CLOCK>', 'the clock of its nodes').choices(CLOCKS).default('swift'))
  .option('--json', 'answer with JSON')
  .action(async (options: { clock: ClockName; json?: boolean }) =>
    (await import('../testnet/demo.ts')).demo(options, interruption()),
  )

program
  .command('bench')
  .description('measure this machine (npm run bench)')
  .allowUnknownOption()
  .argument('[ARGS...]')
  .action(async (args: readonly string[]) => {
    const { spawnSync } = await import('node:child_process')
    const script = new URL('../../test/bench/run.ts', import.meta.url).pathname
    process.exitCode = spawnSync(process.execPath, [script, ...args], { stdio: 'inherit' }).status ?? EXIT.fault
  })

/** `dataDir` as commander spells it, back to `data-dir`. */
function kebab(flags: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(flags).map(([name, value]) => [name.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`), value]),
  )
}

/** The values of an option that may be repeated. */
function gathered(value: string, before: readonly string[] = []): readonly string[] {
  return [...before, value]
}

function wholeFrom(least: number, most: number): (text: string) => number {
  return (text) => {
    const number = /^\d{1,6}$/.test(text) ? Number(text) : Number.NaN
    if (number >= least && number <= most) return number
    throw new UsageError(`--nodes takes a whole number from ${least} to ${most}.`)
  }
}

/** Aborts on Ctrl-C or SIGTERM, so that a command can clean up after itself. */
function interruption(): AbortSignal {
  const controller = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => controller.abort(new Interrupted(signal)))
  return controller.signal
}

// A reader of standard output that went away (`| head`) ends the command quietly.
process.stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? EXIT.done : EXIT.fault))

try {
  await program.parseAsync(process.argv)
} catch (error) {
  if (error instanceof CommanderError) {
    // Commander has printed it; help and version are no errors.
    process.exitCode = error.exitCode === 0 ? EXIT.done : EXIT.usage
  } else {
    printFailure(error, process.argv.includes('--json'))
    process.exitCode = exitCodeOf(error)
  }
  // What failed may still hold a socket or standard input.
  process.exit()
}

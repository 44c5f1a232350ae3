/**
 * What an insider sees, and the truth about loops: cells per circuit and turn at this node as a relay, the two neighbours of each circuit, the
 * first link of each loop that this node began, and which requests it answered as a hop. By hands on the classes of the cell plane: nothing in
 * `src/`, `relay/` or `client/` knows of it. Ids are local to the files that are written; no content is looked at.
 */
import { Apex } from '../../relay/apex.ts'
import { RelayHop } from '../../relay/hop.ts'
import { Switch } from '../../relay/switch.ts'
import { parseHopRequest, parseStoreRequest } from '../../src/wire/index.ts'
import { ANSWERS, TapKind, type TapWriter } from './tap-file.ts'

/** Taps the cell plane of this process. Before the first node is made. */
export function tapCircuits(writer: TapWriter, now: () => number): void {
  const numbers = new WeakMap<RelayHop, number>()
  let count = 0
  const { run } = RelayHop.prototype
  RelayHop.prototype.run = function (this: RelayHop, ...args) {
    let number = numbers.get(this)
    const at = now()
    if (number === undefined) {
      number = ++count
      numbers.set(this, number)
      const { from, fromId, to, toId } = this
      writer.fact({ type: 'hop', number, from: from.peer, fromId, to: to.peer, toId, at })
    }
    writer.record(TapKind.HOP, at, 0, 0, this.turnCells, number)
    return Reflect.apply(run, this, args)
  }

  const { launch } = Switch.prototype
  Switch.prototype.launch = function (this: Switch, ...args) {
    const launched = Reflect.apply(launch, this, args) as ReturnType<typeof launch>
    const [{ first, last }] = args
    if (launched !== null) writer.fact({ type: 'launch', first, last, id: launched.id, at: now() })
    return launched
  }

  const { answer } = Apex.prototype
  Apex.prototype.answer = function (this: Apex, ...args) {
    writer.record(TapKind.ANSWER, now(), 0, 0, args[0].byteLength, ANSWERS.indexOf(kindOf(args[0])))
    return Reflect.apply(answer, this, args)
  }
}

function kindOf(message: Uint8Array): (typeof ANSWERS)[number] {
  const request = parseHopRequest(message)
  if (request === null) return 'other'
  if (request.kind !== 'store') return ANSWERS.find((kind) => kind === request.kind) ?? 'other'
  return parseStoreRequest(request.request)?.kind.startsWith('get') ? 'get' : 'put'
}

/**
 * What the thread of the links and the rest of the node say to each other about what is sent by time: more kinds of records, beside those of links
 * (`src/link/thread/kinds.ts`). Lanes and lines go by numbers that the node gives. Nothing of this leaves the process.
 */
import { OTHER_KINDS } from '../src/link/thread/index.ts'
import type { LinePlan } from './paced-line.ts'

/** To the links' thread. Text is JSON. */
export const ToLines = {
  /** Of link `id`: its control slots (text: `ControlTimes`); a lane in them (a: lane, b: circuit); circuit `a` is unknown here; nothing more goes by time. */
  CONTROL: OTHER_KINDS,
  LANE: OTHER_KINDS + 1,
  UNKNOWN: OTHER_KINDS + 2,
  UNPACED: OTHER_KINDS + 3,
  /** Of lane `id`: one cell (a: command, bytes: its body); it is closed. */
  LANE_CELL: OTHER_KINDS + 4,
  LANE_CLOSE: OTHER_KINDS + 5,
  /** Line `id` (a: link, b: circuit, text: `LineOrder`); its next cell's body (a: `microsOf` when it was put in); that something came home; its end. */
  LINE: OTHER_KINDS + 6,
  LINE_CELL: OTHER_KINDS + 7,
  LINE_HEARD: OTHER_KINDS + 8,
  LINE_STOP: OTHER_KINDS + 9,
} as const

/** From the links' thread. */
export const FromLines = {
  /** Of lane `id`: cells have gone (a: command, b: how many). */
  LANE_GONE: OTHER_KINDS,
  /** Of own line `id`: its first cell has its slot (two f64: `LineSlots`). Of any: it is over (a: `LINE_ENDS`). */
  LINE_BEGUN: OTHER_KINDS + 1,
  LINE_OVER: OTHER_KINDS + 2,
  /** A tick is over: of each own line that runs two u32, its number and how many cells it has sent. */
  TICK: OTHER_KINDS + 3,
  /** Of link `id`: it was said that circuit `a` is unknown here. */
  UNKNOWN_SAID: OTHER_KINDS + 4,
} as const

export const LINE_ENDS = ['expired', 'idle', 'overload'] as const

export interface LineOrder {
  readonly plan: LinePlan
  readonly own: boolean
}

/** What the lines of a thread have in common. */
export interface LineThreadOptions {
  readonly tickMs: number
}

/** A time in microseconds, u32, that wraps: how long ago it was is known for half an hour. */
export function microsOf(ms: number): number {
  return Math.floor(ms * 1_000) >>> 0
}

/**
 * The time that `micros` tells, seen at `nowMs`. Two threads' clocks are the same but for the moment between two readings: what the other one says may be
 * a little ahead, and is now.
 */
export function timeOf(micros: number, nowMs: number): number {
  return nowMs - Math.max(0, (microsOf(nowMs) - micros) | 0) / 1_000
}

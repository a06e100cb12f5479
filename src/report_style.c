/*-------------------------------------------------------------------------
 *
 * report_style.c
 *	  How a report looks: light, dark and on paper, from 360 pixels on.
 *
 * No character of it may be special in XML.  Text has a contrast of 4.5 to 1
 * with what is behind it at least, colours of states 3 to 1 (WCAG 2.1 AA).
 *
 * Copyright (c) 2026, the mailman authors
 *
 *-------------------------------------------------------------------------
 */
#include "report.h"

#define LIGHT \
	"--page:#f4f6f8;--card:#fff;--ink:#1c2733;--soft:#556270;--line:#d9dfe5;" \
	"--head:#2f5f88;--track:#e6ebf0;--hatch:#fff;--focus:#1d6fb8;" \
	"--s0:#336791;--s1:#2a8a82;--s2:#7b8794;--s3:#a8690a;--s4:#b3402a;" \
	"--s5:#7a4fa3;--s6:#6b7480;"

#define DARK \
	"--page:#12171d;--card:#1a2129;--ink:#e6ebf0;--soft:#a3b0bd;--line:#313c48;" \
	"--head:#8fbce0;--track:#2a343f;--hatch:#12171d;--focus:#8fc4f2;" \
	"--s0:#6ea6d3;--s1:#4fb5ab;--s2:#8e9aa7;--s3:#dba645;--s4:#e5816a;" \
	"--s5:#b694da;--s6:#97a2ae;"

const char	report_style[] =
":root{color-scheme:light dark;" LIGHT "}\n"
"@media screen and (prefers-color-scheme:dark){:root{" DARK "}}\n"
"*{box-sizing:border-box}\n"
"body{margin:0;background:var(--page);color:var(--ink);"
"font:15px/1.5 system-ui,-apple-system,'Segoe UI',Roboto,'Noto Sans','Liberation Sans',sans-serif;"
"font-variant-numeric:tabular-nums;-webkit-text-size-adjust:100%}\n"
"header,main,footer{max-width:1160px;margin:0 auto;padding:0 24px}\n"
"header{padding-top:36px;padding-bottom:20px}\n"
".over{margin:0;color:var(--soft);font-size:14px}\n"
"h1{margin:4px 0 12px;font-size:30px;line-height:1.25;font-weight:650;"
"letter-spacing:-.01em;overflow-wrap:anywhere}\n"
"h2{margin:0 0 16px;font-size:19px;line-height:1.3;font-weight:650}\n"
"h3{margin:24px 0 8px;font-size:15px;font-weight:650}\n"
"h2+h3,.columns h3{margin-top:0}\n"
".status{margin:0}\n"
".badge{display:inline-block;padding:1px 10px;border:1px solid var(--head);"
"border-radius:12px;color:var(--head);font-size:14px;font-weight:600}\n"
".why{margin-left:6px;overflow-wrap:anywhere}\n"
"section{margin:0 0 20px;padding:22px 24px;background:var(--card);"
"border:1px solid var(--line);border-radius:8px;min-width:0}\n"
".pair-of-sections{display:grid;grid-template-columns:minmax(0,1fr);column-gap:20px}\n"
".figures{display:grid;grid-template-columns:repeat(auto-fit,minmax(145px,1fr));"
"gap:18px 28px;margin:0}\n"
".figures dt{color:var(--soft);font-size:14px}\n"
".figures dd{margin:0;font-size:25px;line-height:1.3;font-weight:600;"
"letter-spacing:-.01em;white-space:nowrap}\n"
".figures small{display:block;white-space:normal;color:var(--soft);font-size:13px;font-weight:400;"
"letter-spacing:0}\n"
".outcomes{display:flex;flex-wrap:wrap;gap:20px 32px;align-items:center}\n"
".outcomes .scroll{flex:1 1 220px}\n"
".donut{flex:none;margin:0 auto}\n"
".donut text{text-anchor:middle;fill:var(--ink)}\n"
".donut .figure{font-size:25px;font-weight:650}\n"
".donut .unit{font-size:14px;fill:var(--soft)}\n"
".ring{stroke:var(--track)}\n"
".patterns{position:absolute}\n"
".hatch{fill:var(--hatch);stroke:var(--hatch);stroke-width:1.1;fill-opacity:.85;"
"stroke-opacity:.85}\n"
".s0{fill:var(--s0)}.s1{fill:var(--s1)}.s2{fill:var(--s2)}.s3{fill:var(--s3)}"
".s4{fill:var(--s4)}.s5{fill:var(--s5)}.s6{fill:var(--s6)}\n"
".track{fill:var(--track)}\n"
".scroll{position:relative;overflow-x:auto;max-width:100%}\n"
".scroll:focus-visible,summary:focus-visible{outline:2px solid var(--focus);"
"outline-offset:3px;border-radius:3px}\n"
"table{border-collapse:collapse;width:100%;font-size:14px}\n"
"caption,.hidden{position:absolute;width:1px;height:1px;overflow:hidden;"
"clip-path:inset(50%);white-space:nowrap}\n"
"th,td{padding:7px 14px 7px 0;border-bottom:1px solid var(--line);text-align:left;"
"vertical-align:top;font-weight:400}\n"
"th:last-child,td:last-child{padding-right:0}\n"
"tbody tr:last-child th,tbody tr:last-child td{border-bottom:0}\n"
"thead th{color:var(--soft);font-size:13px;white-space:nowrap;vertical-align:bottom}\n"
".n{text-align:right;white-space:nowrap}\n"
".b{width:22%;min-width:70px;vertical-align:middle}\n"
".n+td:not(.n):not(.b),.n+th:not(.n):not(.b){padding-left:16px}\n"
".state,.code,.t{white-space:nowrap}\n"
".who{color:var(--soft);font-size:13px}\n"
".bar{display:block;width:100%;height:8px;border-radius:2px}\n"
".swatch{margin-right:8px;vertical-align:-2px}\n"
".reason{width:60%;min-width:240px;overflow-wrap:anywhere}\n"
".meaning{display:block}\n"
".sample{display:block;color:var(--soft);font:13px/1.45 ui-monospace,SFMono-Regular,"
"Menlo,Consolas,'Liberation Mono',monospace}\n"
".sample::before,.sample::after{content:''}\n"
".chart{display:flex;gap:8px}\n"
".scale{display:flex;flex-direction:column;justify-content:space-between;"
"height:168px;margin-top:-9px;color:var(--soft);font-size:13px;"
"line-height:18px;text-align:right;min-width:24px}\n"
".plot{flex:1;min-width:0}\n"
".plot svg{display:block;width:100%;height:150px;overflow:visible;"
"border-bottom:1px solid var(--soft)}\n"
".grid{fill:none;stroke:var(--line);stroke-width:1;vector-effect:non-scaling-stroke}\n"
".axis{display:flex;justify-content:space-between;gap:12px;margin-top:4px;"
"color:var(--soft);font-size:13px}\n"
".axis span:last-child{text-align:right}\n"
"details{margin-top:10px}\n"
"summary{cursor:pointer;color:var(--head);font-size:14px}\n"
"details .scroll{max-height:320px;overflow-y:auto;margin-top:6px}\n"
".note,.none{margin:12px 0 0;color:var(--soft);font-size:14px}\n"
".none{margin:0}\n"
".pair{white-space:nowrap;margin-right:10px}\n"
".columns{display:grid;grid-template-columns:minmax(0,1fr);gap:28px 48px}\n"
".facts{margin:0;font-size:14px}\n"
".facts div{display:grid;grid-template-columns:minmax(110px,2fr) 3fr;gap:0 14px;"
"padding:5px 0;border-bottom:1px solid var(--line)}\n"
".facts div:last-child{border-bottom:0}\n"
".facts dt{color:var(--soft);overflow-wrap:anywhere}\n"
".facts dd{margin:0;overflow-wrap:anywhere}\n"
"footer{padding-bottom:36px;color:var(--soft);font-size:13px}\n"
"@media (min-width:900px){.columns{grid-template-columns:repeat(2,minmax(0,1fr))}"
".pair-of-sections{grid-template-columns:minmax(0,5fr) minmax(0,6fr)}}\n"
"@media (max-width:600px){header,main,footer{padding-left:12px;padding-right:12px}"
"header{padding-top:24px}section{padding:18px 14px;margin-bottom:12px}"
"h1{font-size:24px}.figures{grid-template-columns:repeat(2,minmax(0,1fr));gap:16px}"
".figures dd{font-size:22px}.facts div{display:block}.reason{min-width:200px}}\n"
"@media print{@page{margin:16mm}body{background:#fff;font-size:10pt}"
"header,main,footer{max-width:none;padding:0}header{padding-bottom:12pt}"
"section{border:0;border-top:1px solid var(--line);border-radius:0;padding:12pt 0;"
"margin:0}table,.facts,.donut,.chart,.figures{break-inside:avoid}h2,h3{break-after:avoid}"
"tr{break-inside:avoid}.reason{min-width:0}.scroll{overflow:visible;max-height:none}"
"details{display:none}svg{-webkit-print-color-adjust:exact;print-color-adjust:exact}"
".pair-of-sections,.columns{display:block}.columns h3{margin-top:12pt}}\n";

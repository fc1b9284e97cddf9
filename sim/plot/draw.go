package plot

import (
	"fmt"
	"image/color"
	"math"
	"os"
	"strconv"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"

	"github.com/forebay/forebay/sim/scenario"
)

// The size of a picture. At 96 dots an inch it is 960 by 380 pixels.
const (
	width  = 10 * vg.Inch
	height = 3.96 * vg.Inch
	dpi    = 96
	// mostMarked faults are marked; more would hide the lines.
	mostMarked = 40
	// mostNamed of them have their names written at them.
	mostNamed = 8
)

// The colours of lines can be told apart by people who do not see all of them (Okabe and Ito).
var (
	colours    = []color.Color{rgb(0x00, 0x72, 0xb2), rgb(0xd5, 0x5e, 0x00), rgb(0x00, 0x9e, 0x73), rgb(0xcc, 0x79, 0xa7)}
	faultShade = color.NRGBA{0xe6, 0x9f, 0x00, 0x38}
	faultEdge  = rgb(0xb0, 0x70, 0x00)
	gridColour = color.Gray{0xe0}
)

func rgb(r, g, b byte) color.Color { return color.RGBA{r, g, b, 0xff} }

// save draws the figure as a PNG.
func (f *figure) save(path string, r *scenario.Report) error {
	p := plot.New()
	for _, style := range []*text.Style{&p.Title.TextStyle, &p.X.Label.TextStyle, &p.Y.Label.TextStyle, &p.X.Tick.Label, &p.Y.Tick.Label} {
		style.Font.Variant, style.Font.Size = "Sans", vg.Points(9)
	}
	p.Title.Text = fmt.Sprintf("%s: %s, %d workers, %d clients, seed %d", f.title, r.Scenario, r.Workers, r.Clients, r.Seed)
	p.X.Label.Text, p.Y.Label.Text = "simulated time, seconds", f.unit
	p.Title.TextStyle.Font.Size, p.Title.Padding = vg.Points(11), vg.Points(6)
	p.X.Padding, p.Y.Padding = 0, 0
	f.scale(p, r)
	if err := f.mark(p, r); err != nil {
		return err
	}
	grid := plotter.NewGrid()
	grid.Horizontal.Color, grid.Vertical.Color = gridColour, gridColour
	p.Add(grid)
	legend, err := f.addLines(p)
	if err != nil {
		return err
	}
	return write(p, legend, path)
}

// scale sets the axes. Time is the whole run's, also where a line has nothing to say.
func (f *figure) scale(p *plot.Plot, r *scenario.Report) {
	n := len(r.Series.Samples)
	p.X.Min, p.X.Max = 0, math.Max(r.Series.Samples[n-1].At.Seconds(), 1)
	p.X.Tick.Marker = ticks{most: 13, steps: []float64{1, 2, 5, 10, 15, 20, 30, 60, 120, 300, 600, 1800, 3600, 7200, 14400}}
	low, high := math.Inf(1), 0.0
	for _, l := range f.lines {
		for _, y := range l.ys {
			high = math.Max(high, y)
			if y > 0 {
				low = math.Min(low, y)
			}
		}
	}
	if f.log {
		p.Y.Min, p.Y.Max = math.Pow(10, math.Floor(math.Log10(low))), math.Pow(10, math.Ceil(math.Log10(high*1.01)))
		p.Y.Scale, p.Y.Tick.Marker = plot.LogScale{}, decades{}
		return
	}
	p.Y.Min, p.Y.Max, p.Y.Tick.Marker = 0, high*1.12, ticks{most: 7}
	if f.top > 0 {
		p.Y.Max = f.top * 1.04
	}
}

// addLines draws the lines, and tells what each is when there are several. A line of zeros is left out.
func (f *figure) addLines(p *plot.Plot) (plot.Legend, error) {
	legend := plot.NewLegend()
	legend.Top, legend.Padding = true, vg.Points(1.5)
	legend.TextStyle.Font.Variant, legend.TextStyle.Font.Size = "Sans", vg.Points(9)
	for i, l := range f.lines {
		var points plotter.XYs
		nonzero := false
		for j := range l.xs {
			y := l.ys[j]
			nonzero = nonzero || y > 0
			if f.log {
				y = math.Max(y, p.Y.Min)
			}
			points = append(points, plotter.XY{X: l.xs[j], Y: y})
		}
		if !nonzero {
			continue
		}
		drawn, err := plotter.NewLine(points)
		if err != nil {
			return legend, err
		}
		drawn.Color, drawn.Width = colours[i%len(colours)], vg.Points(1.6)
		p.Add(drawn)
		if len(f.lines) > 1 {
			legend.Add(l.label, drawn)
		}
	}
	return legend, nil
}

// ticks are labelled marks at multiples of a step, at most most of them. Without steps to choose from the step is 1, 2 or 5
// times a power of ten.
type ticks struct {
	most  int
	steps []float64
}

// Ticks implements plot.Ticker.
func (t ticks) Ticks(low, high float64) []plot.Tick {
	step := t.step((high - low) / float64(t.most))
	var marks []plot.Tick
	for i := math.Ceil(low/step - 1e-9); i*step <= high*(1+1e-9); i++ {
		label := strconv.FormatFloat(math.Round(i*step*1e6)/1e6+0, 'f', -1, 64) // + 0 makes 0 of -0
		marks = append(marks, plot.Tick{Value: i * step, Label: label})
	}
	return marks
}

// decades are labelled marks at powers of ten. plot.LogTicks has marks beyond the axis as well, for which room is left.
type decades struct{}

// Ticks implements plot.Ticker.
func (decades) Ticks(low, high float64) []plot.Tick {
	var marks []plot.Tick
	for y := math.Pow(10, math.Round(math.Log10(low))); y <= high*(1+1e-9); y *= 10 {
		marks = append(marks, plot.Tick{Value: y, Label: strconv.FormatFloat(y, 'g', -1, 64)})
		for times := 2.0; times < 10 && times*y < high; times++ {
			marks = append(marks, plot.Tick{Value: times * y})
		}
	}
	return marks
}

func (t ticks) step(least float64) float64 {
	for _, step := range t.steps {
		if step >= least {
			return step
		}
	}
	power := math.Pow(10, math.Floor(math.Log10(math.Max(least, 1e-12))))
	for _, times := range []float64{1, 2, 5} {
		if times*power >= least {
			return times * power
		}
	}
	return 10 * power
}

// mark shades the times of faults, with an edge where each begins, and names the first few.
func (f *figure) mark(p *plot.Plot, r *scenario.Report) error {
	var named plotter.XYLabels
	for i, t := range r.Trials {
		if i == mostMarked {
			break
		}
		from, to := t.At.Seconds(), math.Min((t.At+t.For).Seconds(), p.X.Max)
		if from >= p.X.Max {
			continue
		}
		shade, err := plotter.NewPolygon(plotter.XYs{{X: from, Y: p.Y.Min}, {X: to, Y: p.Y.Min}, {X: to, Y: p.Y.Max}, {X: from, Y: p.Y.Max}})
		if err != nil {
			return err
		}
		shade.Color, shade.Width = faultShade, 0
		edge, err := plotter.NewLine(plotter.XYs{{X: from, Y: p.Y.Min}, {X: from, Y: p.Y.Max}})
		if err != nil {
			return err
		}
		edge.Color, edge.Width, edge.Dashes = faultEdge, vg.Points(1), []vg.Length{vg.Points(4), vg.Points(3)}
		p.Add(shade, edge)
		if len(r.Trials) <= mostNamed {
			named.XYs, named.Labels = append(named.XYs, plotter.XY{X: from, Y: p.Y.Max}), append(named.Labels, t.Kind)
		}
	}
	if len(named.Labels) == 0 {
		return nil
	}
	labels, err := plotter.NewLabels(named)
	if err != nil {
		return err
	}
	for i := range labels.TextStyle {
		s := &labels.TextStyle[i]
		s.Color, s.Font.Variant, s.Font.Size, s.XAlign, s.YAlign = faultEdge, "Sans", vg.Points(8), text.XLeft, text.YTop
	}
	labels.Offset = vg.Point{X: vg.Points(3), Y: vg.Points(-2)}
	p.Add(labels)
	return nil
}

// write renders on white. The legend stands above the axes, where no line is behind it.
func write(p *plot.Plot, legend plot.Legend, path string) error {
	c := vgimg.NewWith(vgimg.UseWH(width, height), vgimg.UseDPI(dpi), vgimg.UseBackgroundColor(color.White))
	all := draw.Crop(draw.New(c), vg.Points(6), -vg.Points(14), vg.Points(6), -vg.Points(6))
	above := legend.Rectangle(all).Size().Y - vg.Points(12)
	p.Draw(draw.Crop(all, 0, 0, 0, -max(above, 0)))
	legend.Draw(all)
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // the second time after a success
	if _, err := (vgimg.PngCanvas{Canvas: c}).WriteTo(f); err != nil {
		return err
	}
	return f.Close()
}
